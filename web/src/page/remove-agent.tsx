import { Button, Group, List, Modal, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useNavigate } from "react-router";
import { api } from "../api/client";
import type { Device } from "../api/types";
import { notifyDone, ProblemAlert } from "../component/problem";

/** RemoveAgentDialog asks for the device's name before its agent is told to leave. */
export function RemoveAgentDialog({ device, opened, onClose }: { device: Device; opened: boolean; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Modal opened={opened} onClose={onClose} title={t("removeAgent.title", { hostname: device.hostname || device.id })} closeButtonProps={{ "aria-label": t("common.close") }}>
      <Form device={device} onClose={onClose} />
    </Modal>
  );
}

function Form({ device, onClose }: { device: Device; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const navigate = useNavigate();
  const hostname = device.hostname || device.id;
  const [typed, setTyped] = useState("");
  const remove = useMutation({
    mutationFn: () => api.removeDevice(device.id),
    onSuccess: (task) => {
      notifyDone(device.connected ? t("removeAgent.asked", { hostname }) : t("removeAgent.askedLater", { hostname }));
      onClose();
      void navigate(`/tasks/${task.id}`);
    },
    onSettled: () => {
      for (const kind of ["devices", "tasks"]) void client.invalidateQueries({ queryKey: [kind] });
    },
  });
  const same = typed.trim() === hostname;
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (same) remove.mutate();
      }}
    >
      <Stack>
        <ProblemAlert error={remove.error} />
        <List size="sm" spacing={4}>
          <List.Item>{t("removeAgent.leaves")}</List.Item>
          <List.Item>{t("removeAgent.last")}</List.Item>
          <List.Item>{t("removeAgent.stays")}</List.Item>
        </List>
        {!device.connected && <Text size="sm">{t("removeAgent.offline")}</Text>}
        <TextInput label={t("removeAgent.type", { hostname })} value={typed} onChange={(e) => setTyped(e.currentTarget.value)} autoComplete="off" data-autofocus />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" color="red" disabled={!same} loading={remove.isPending}>{t("removeAgent.submit")}</Button>
        </Group>
      </Stack>
    </form>
  );
}
