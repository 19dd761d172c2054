import { Alert, Button, Checkbox, Group, List, Modal, ScrollArea, Stack, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useNavigate } from "react-router";
import { api } from "../api/client";
import type { Installed } from "../api/types";
import { notifyDone, ProblemAlert } from "../component/problem";
import { MOST_SOFTWARE, tasksAddress, uninstallRequests, type UninstallRequest } from "../software";

interface Props {
  chosen: Installed[];
  opened: boolean;
  onClose: () => void;
  onAsked: () => void;
}

/** UninstallDialog says what will happen to the chosen programs and asks once more. */
export function UninstallDialog({ chosen, opened, onClose, onAsked }: Props) {
  const { t } = useTranslation();
  return (
    <Modal opened={opened} onClose={onClose} title={t("uninstall.title")} size="lg" closeButtonProps={{ "aria-label": t("common.close") }}>
      <Form chosen={chosen} onClose={onClose} onAsked={onAsked} />
    </Modal>
  );
}

function Form({ chosen, onClose, onAsked }: Omit<Props, "opened">) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [stopAtFailure, setStop] = useState(false);
  // What has been asked for already when a later request was refused: it is not asked for twice.
  const [asked, setAsked] = useState<ReadonlySet<string>>(new Set());
  const requests = uninstallRequests(chosen);
  const devices = new Set(chosen.map((c) => c.device_id)).size;
  const tooMany = requests.some((r) => r.software.length > MOST_SOFTWARE);
  const uninstall = useMutation({
    mutationFn: async () => {
      const done = [];
      for (const request of requests) {
        if (asked.has(nameOf(request))) continue;
        done.push(await api.uninstall({ ...request, stop_at_failure: stopAtFailure }));
        setAsked((old) => new Set(old).add(nameOf(request)));
      }
      return done;
    },
    onSuccess: (done) => {
      notifyDone(t("uninstall.asked", { count: devices }));
      onAsked();
      onClose();
      void navigate(tasksAddress(done));
    },
    onSettled: () => {
      for (const kind of ["tasks", "devices"]) void client.invalidateQueries({ queryKey: [kind] });
    },
  });
  return (
    <Stack>
      <ProblemAlert error={uninstall.error} />
      {asked.size > 0 && uninstall.error && <Alert color="yellow">{t("uninstall.partly", { done: asked.size, total: requests.length })}</Alert>}
      <Text size="sm">{t("uninstall.what", { count: chosen.length })}</Text>
      <ScrollArea.Autosize mah={220} type="auto" viewportProps={{ tabIndex: 0, role: "region", "aria-label": t("uninstall.programs") }}>
        <List size="sm" spacing={2}>
          {chosen.map((c) => (
            <List.Item key={`${c.device_id} ${c.key}`} className="breakable">
              <Text span fw={600} size="sm">{c.name}</Text> {c.version} <Text span size="sm" c="dimmed">{t("uninstall.on", { hostname: c.hostname || c.device_id })}</Text>
            </List.Item>
          ))}
        </List>
      </ScrollArea.Autosize>
      <List size="sm" spacing={4}>
        <List.Item>{t("uninstall.inTurn")}</List.Item>
        <List.Item>{t("uninstall.others")}</List.Item>
        <List.Item>{t("uninstall.configuration")}</List.Item>
      </List>
      <Checkbox label={t("uninstall.stopAtFailure")} description={t("uninstall.stopAtFailureHint")} checked={stopAtFailure} onChange={(e) => setStop(e.currentTarget.checked)} />
      {tooMany && <Text role="alert" size="sm" c="var(--mantine-color-error)">{t("uninstall.tooMany", { most: MOST_SOFTWARE })}</Text>}
      <Group justify="flex-end">
        <Button variant="default" onClick={onClose} data-autofocus>{t("common.cancel")}</Button>
        <Button color="red" disabled={tooMany || chosen.length === 0} loading={uninstall.isPending} onClick={() => uninstall.mutate()}>{t("uninstall.submit")}</Button>
      </Group>
    </Stack>
  );
}

function nameOf(r: UninstallRequest): string {
  return JSON.stringify(r);
}
