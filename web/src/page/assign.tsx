import { Alert, Button, Group, Modal, SegmentedControl, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import type { Package } from "../api/types";
import { DevicePicker } from "../component/device-picker";
import { notifyDone, ProblemAlert } from "../component/problem";

export function AssignDialog({ pack, opened, onClose }: { pack: Package; opened: boolean; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Modal opened={opened} onClose={onClose} title={t("assign.title", { name: `${pack.name} ${pack.version}` })} size="xl" closeButtonProps={{ "aria-label": t("common.close") }}>
      <AssignForm pack={pack} onClose={onClose} />
    </Modal>
  );
}

function AssignForm({ pack, onClose }: { pack: Package; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [who, setWho] = useState("chosen");
  const [chosen, setChosen] = useState<ReadonlyMap<string, string>>(new Map());
  const [notBefore, setNotBefore] = useState("");
  const [missing, setMissing] = useState(false);
  const assign = useMutation({
    mutationFn: () =>
      api.assign({
        package_id: pack.id,
        ...(who === "all" ? { all: true } : { device_ids: [...chosen.keys()] }),
        ...(notBefore ? { not_before: new Date(notBefore).toISOString() } : {}),
      }),
    onSuccess: (a) => {
      notifyDone(a.device_count > 0 ? t("assign.done", { count: a.device_count }) : t("assign.doneNone"));
      for (const kind of ["deployments", "packages", "assignments", "devices"]) void client.invalidateQueries({ queryKey: [kind] });
      onClose();
    },
  });
  const submit = () => {
    if (who === "chosen" && chosen.size === 0) setMissing(true);
    else assign.mutate();
  };
  return (
    <Stack>
      <ProblemAlert error={assign.error} />
      {pack.priority === 0 && <Alert color="yellow">{t("assign.zero")}</Alert>}
      <SegmentedControl
        aria-label={t("assign.who")}
        value={who}
        onChange={setWho}
        data={[
          { value: "chosen", label: t("assign.chosen") },
          { value: "all", label: t("assign.all") },
        ]}
      />
      {who === "chosen" ? (
        <DevicePicker
          chosen={chosen}
          onChange={(next) => {
            setMissing(false);
            setChosen(next);
          }}
        />
      ) : (
        <Text size="sm">{t("assign.allText")}</Text>
      )}
      <TextInput type="datetime-local" label={t("assign.notBefore")} description={t("assign.notBeforeHint")} value={notBefore} onChange={(e) => setNotBefore(e.currentTarget.value)} maw={320} />
      {missing && <Text role="alert" size="sm" c="var(--mantine-color-error)">{t("assign.chooseOne")}</Text>}
      <Group justify="flex-end">
        <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
        <Button onClick={submit} loading={assign.isPending}>{t("assign.submit")}</Button>
      </Group>
    </Stack>
  );
}
