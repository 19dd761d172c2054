import { Badge, Button, Card, Group, JsonInput, Modal, Stack, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useNavigate } from "react-router";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Device } from "../api/types";
import { ModuleIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Empty } from "../component/page";
import { notifyDone, ProblemAlert } from "../component/problem";
import { SectionRows, SectionState } from "../component/section-rows";
import { modules, parametersOf, type Module } from "../module";

/** DeviceModules shows what the modules from outside that a device has have found, and lets them run now. */
export function DeviceModules({ device }: { device: Device }) {
  const { t } = useTranslation();
  const inventory = useQuery({ queryKey: keys.one("inventory", device.id), queryFn: () => api.inventory(device.id) });
  return (
    <Loaded query={inventory}>
      {(i) => {
        const list = modules(device.facts?.modules, i.sections);
        if (list.length === 0) return <Empty icon={<ModuleIcon size={32} />} title={t("module.emptyTitle")} hint={t("module.emptyHint")} />;
        return <Stack>{list.map((m) => <OneModule key={m.name} device={device} module={m} />)}</Stack>;
      }}
    </Loaded>
  );
}

function OneModule({ device, module: m }: { device: Device; module: Module }) {
  const { t } = useTranslation();
  const [running, run] = useDisclosure();
  const { section } = m;
  return (
    <Card withBorder>
      <Stack gap="sm">
        <Group justify="space-between" gap="sm">
          <Group gap="sm">
            <Title order={2} size="h4" className="breakable">{m.name}</Title>
            {!m.there && <Badge variant="light" color="gray" tt="none">{t("module.gone")}</Badge>}
          </Group>
          {m.there && device.state === "active" && <Button size="xs" variant="default" onClick={run.open} aria-label={`${t("module.run")}: ${m.name}`}>{t("module.run")}</Button>}
        </Group>
        {section ? (
          <>
            <SectionState section={section} />
            {(section.received_at || !section.problem) && <SectionRows deviceId={device.id} section={section} label={m.name} />}
          </>
        ) : (
          <Text size="sm" c="dimmed">{t("module.never")}</Text>
        )}
      </Stack>
      <Modal opened={running} onClose={run.close} title={t("module.runTitle", { name: m.name, hostname: device.hostname || device.id })} closeButtonProps={{ "aria-label": t("common.close") }}>
        <RunForm device={device} name={m.name} onClose={run.close} />
      </Modal>
    </Card>
  );
}

function RunForm({ device, name, onClose }: { device: Device; name: string; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [text, setText] = useState("");
  const parameters = parametersOf(text);
  const run = useMutation({
    mutationFn: (value?: Record<string, unknown>) => api.runModule(device.id, name, value),
    onSuccess: (task) => {
      const hostname = device.hostname || device.id;
      notifyDone(device.connected ? t("module.asked", { hostname }) : t("module.askedLater", { hostname }));
      onClose();
      void navigate(`/tasks/${task.id}`);
    },
    onSettled: () => {
      for (const kind of ["tasks", "devices"]) void client.invalidateQueries({ queryKey: [kind] });
    },
  });
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (parameters.ok) run.mutate(parameters.value);
      }}
    >
      <Stack>
        <ProblemAlert error={run.error} />
        <JsonInput
          label={t("module.parameters")}
          description={t("module.parametersHint")}
          placeholder="{}"
          value={text}
          onChange={setText}
          error={!parameters.ok && t("module.noObject")}
          formatOnBlur
          autosize
          minRows={3}
          maxRows={16}
          data-autofocus
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" disabled={!parameters.ok} loading={run.isPending}>{t("module.run")}</Button>
        </Group>
      </Stack>
    </form>
  );
}
