import { Button, Group as Row, Modal, Stack, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { useGroups } from "../component/group-choice";
import { Choice } from "../component/choice";
import { notifyDone, ProblemAlert } from "../component/problem";

interface Props {
  devices: ReadonlyMap<string, string>;
  opened: boolean;
  onClose: () => void;
}

/** AddToGroupDialog puts devices on a list. */
export function AddToGroupDialog({ devices, opened, onClose }: Props) {
  const { t } = useTranslation();
  return (
    <Modal opened={opened} onClose={onClose} title={t("devices.addToGroup")} closeButtonProps={{ "aria-label": t("common.close") }}>
      <Form devices={devices} onClose={onClose} />
    </Modal>
  );
}

function Form({ devices, onClose }: Omit<Props, "opened">) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const groups = useGroups("static");
  const [id, setId] = useState("");
  const add = useMutation({
    mutationFn: () => api.addMembers(id, [...devices.keys()]),
    onSuccess: () => {
      notifyDone(t("group.added", { count: devices.size }));
      onClose();
    },
    onSettled: () => {
      for (const kind of ["groups", "devices"]) void client.invalidateQueries({ queryKey: [kind] });
    },
  });
  const group = groups.find((g) => g.id === id);
  return (
    <Stack>
      <ProblemAlert error={add.error} />
      <Text size="sm" fw={600} className="breakable">{devices.size <= 5 ? [...devices.values()].join(", ") : t("picker.selected", { count: devices.size })}</Text>
      <Row><Choice label={t("devices.group")} width={360} value={id} onChange={setId} data={groups.map((g) => ({ value: g.id, label: g.name }))} /></Row>
      {groups.length === 0 && <Text size="sm" c="dimmed">{t("devices.noLists")}</Text>}
      {group && (group.log_level || group.release_id) && <Text size="sm">{t("group.addApplies")}</Text>}
      <Row justify="flex-end">
        <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
        <Button disabled={!id} loading={add.isPending} onClick={() => add.mutate()}>{t("group.add")}</Button>
      </Row>
    </Stack>
  );
}
