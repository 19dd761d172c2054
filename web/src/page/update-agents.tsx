import { Button, Group as Row, List, Modal, NativeSelect, ScrollArea, SegmentedControl, Stack, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useNavigate } from "react-router";
import { api } from "../api/client";
import type { Release, Updated } from "../api/types";
import { DevicePicker } from "../component/device-picker";
import { GroupChoice } from "../component/group-choice";
import { notifyDone, ProblemAlert } from "../component/problem";
import { ReleaseChoice } from "../component/release-choice";
import { tasksAddress } from "../software";

/** Seconds that a new agent may take until it has checked in. */
const PROBATIONS = ["60", "300", "600", "1800", "3600"] as const;
const USUAL = "600";

interface Props {
  /** Whose agents; without both it is asked for. */
  devices?: ReadonlyMap<string, string>;
  group?: { id: string; name: string };
  /** To which release; without it, it is asked for. */
  release?: Release;
  opened: boolean;
  onClose: () => void;
}

/** UpdateDialog asks for an update of agents to a release. */
export function UpdateDialog(props: Props) {
  const { t } = useTranslation();
  const title = props.release ? t("update.titleTo", { version: props.release.version }) : t("update.title");
  return (
    <Modal opened={props.opened} onClose={props.onClose} title={title} size={props.devices || props.group ? "lg" : "xl"} closeButtonProps={{ "aria-label": t("common.close") }}>
      <Form {...props} />
    </Modal>
  );
}

function Form({ devices, group, release, onClose }: Props) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [who, setWho] = useState("devices");
  const [chosen, setChosen] = useState<ReadonlyMap<string, string>>(new Map());
  const [chosenGroup, setGroup] = useState("");
  const [releaseId, setRelease] = useState(release?.id ?? "");
  const [probation, setProbation] = useState<string>(USUAL);
  const asks = !devices && !group;
  const named = devices ?? chosen;
  const groupId = group?.id ?? (asks && who === "group" ? chosenGroup : "");
  const ready = releaseId !== "" && (groupId !== "" || (!group && who === "devices" && named.size > 0));
  const show = (done: Updated) => {
    onClose();
    void navigate(tasksAddress([{ batch_id: done.batch_id ?? "", tasks: done.tasks }]));
  };
  const update = useMutation({
    mutationFn: () =>
      api.update({ release_id: releaseId, probation_seconds: Number(probation), ...(groupId ? { group_id: groupId } : { device_ids: [...named.keys()] }) }),
    onSuccess: (done) => {
      if (done.left_out.length > 0 || done.made === 0) return;
      notifyDone(t("update.asked", { count: done.made }));
      show(done);
    },
    onSettled: () => {
      for (const kind of ["tasks", "devices"]) void client.invalidateQueries({ queryKey: [kind] });
    },
  });
  if (update.data) return <Outcome done={update.data} onShow={() => show(update.data)} onClose={onClose} />;
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (ready) update.mutate();
      }}
    >
      <Stack>
        <ProblemAlert error={update.error} />
        <Text size="sm">{t("update.text")}</Text>
        {group && <Text size="sm" fw={600} className="breakable">{t("update.ofGroup", { name: group.name })}</Text>}
        {devices && <Text size="sm" fw={600} className="breakable">{devices.size <= 5 ? [...devices.values()].join(", ") : t("picker.selected", { count: devices.size })}</Text>}
        {!release && <ReleaseChoice label={t("update.release")} value={releaseId} onChange={setRelease} />}
        {asks && (
          <>
            <SegmentedControl
              aria-label={t("update.who")}
              value={who}
              onChange={setWho}
              data={[
                { value: "devices", label: t("assign.chosen") },
                { value: "group", label: t("update.group") },
              ]}
            />
            {who === "group" ? <Row><GroupChoice label={t("update.group")} value={chosenGroup} onChange={setGroup} /></Row> : <DevicePicker chosen={chosen} onChange={setChosen} />}
          </>
        )}
        <NativeSelect
          label={t("update.probation")}
          description={t("update.probationHint")}
          data={PROBATIONS.map((s) => ({ value: s, label: t("update.minutes", { count: Number(s) / 60 }) }))}
          value={probation}
          onChange={(e) => setProbation(e.currentTarget.value)}
        />
        <Row justify="flex-end">
          <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" disabled={!ready} loading={update.isPending}>{t("update.submit")}</Button>
        </Row>
      </Stack>
    </form>
  );
}

/** Outcome names the members of a group that get no update, and why. */
function Outcome({ done, onShow, onClose }: { done: Updated; onShow: () => void; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Stack>
      <Text size="sm" role="status">{done.made > 0 ? t("update.asked", { count: done.made }) : t("update.none")}</Text>
      {done.left_out.length > 0 && (
        <>
          <Text size="sm" fw={600}>{t("update.leftOut", { count: done.left_out.length })}</Text>
          <ScrollArea.Autosize mah={300} type="auto" viewportProps={{ tabIndex: 0, role: "region", "aria-label": t("update.leftOut", { count: done.left_out.length }) }}>
            <List size="sm" spacing={2}>
              {done.left_out.map((d) => (
                <List.Item key={d.device_id} className="breakable"><Text span fw={600} size="sm">{d.hostname || d.device_id}</Text>: {d.why}</List.Item>
              ))}
            </List>
          </ScrollArea.Autosize>
        </>
      )}
      <Row justify="flex-end">
        <Button variant="default" onClick={onClose}>{t("common.close")}</Button>
        {done.made > 0 && <Button onClick={onShow}>{t("update.showTasks")}</Button>}
      </Row>
    </Stack>
  );
}
