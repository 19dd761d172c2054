import { Alert, Button, Group, Modal, ScrollArea, SegmentedControl, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { useDebouncedValue } from "@mantine/hooks";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { Device, Package } from "../api/types";
import { Connected } from "../component/badge";
import { SearchIcon } from "../component/icon";
import { Empty } from "../component/page";
import { notifyDone, ProblemAlert } from "../component/problem";
import { DataTable, type Column } from "../component/table";

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

/** DevicePicker keeps what is chosen while one searches and pages on. */
function DevicePicker({ chosen, onChange }: { chosen: ReadonlyMap<string, string>; onChange: (next: ReadonlyMap<string, string>) => void }) {
  const { t } = useTranslation();
  const [text, setText] = useState("");
  const [q] = useDebouncedValue(text, 250);
  const page = usePaged("devices", api.devices, { q, state: "active" }, 20);
  const columns = useMemo<Column<Device>[]>(
    () => [
      { id: "hostname", header: t("devices.hostname"), cell: (d) => d.hostname || d.id },
      { id: "system", header: t("devices.system"), cell: (d) => `${d.os_name || d.os} ${d.os_version}`.trim() },
      { id: "connected", header: t("devices.connection"), cell: (d) => <Connected connected={d.connected} /> },
    ],
    [t],
  );
  const names = new Map(page.items.map((d) => [d.id, d.hostname || d.id]));
  const toggle = (id: string, on: boolean) => {
    const next = new Map(chosen);
    if (on) next.set(id, names.get(id) ?? id);
    else next.delete(id);
    onChange(next);
  };
  return (
    <Stack gap="xs">
      <TextInput label={t("assign.search")} leftSection={<SearchIcon size={16} />} value={text} onChange={(e) => setText(e.currentTarget.value)} type="search" data-autofocus />
      <ScrollArea.Autosize mah={320} type="auto">
        <DataTable
          label={t("assign.chosen")}
          page={page}
          columns={columns}
          empty={<Empty title={q ? t("common.noMatch") : t("assign.noDevices")} />}
          selection={{ has: (id) => chosen.has(id), toggle, label: (id) => t("assign.select", { hostname: names.get(id) ?? id }) }}
        />
      </ScrollArea.Autosize>
      <Text size="sm" c="dimmed" aria-live="polite">{t("assign.selected", { count: chosen.size })}</Text>
    </Stack>
  );
}
