import { ScrollArea, Stack, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { Device } from "../api/types";
import { Connected } from "./badge";
import { SearchIcon } from "./icon";
import { Empty } from "./page";
import { DataTable, type Column } from "./table";

/** DevicePicker keeps what is chosen while one searches and pages on. */
export function DevicePicker({ chosen, onChange }: { chosen: ReadonlyMap<string, string>; onChange: (next: ReadonlyMap<string, string>) => void }) {
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
      <TextInput label={t("picker.search")} leftSection={<SearchIcon size={16} />} value={text} onChange={(e) => setText(e.currentTarget.value)} type="search" data-autofocus />
      <ScrollArea.Autosize mah={320} type="auto">
        <DataTable
          label={t("picker.devices")}
          page={page}
          columns={columns}
          empty={<Empty title={q ? t("common.noMatch") : t("picker.none")} />}
          selection={{ has: (id) => chosen.has(id), toggle, label: (id) => t("picker.select", { hostname: names.get(id) ?? id }) }}
        />
      </ScrollArea.Autosize>
      <Text size="sm" c="dimmed" aria-live="polite">{t("picker.selected", { count: chosen.size })}</Text>
    </Stack>
  );
}
