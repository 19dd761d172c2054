import { Anchor, Button, Group, SegmentedControl, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { Device, Installed, SoftwareChange } from "../api/types";
import { useFilters } from "../component/filter";
import { SearchIcon, SoftwareIcon } from "../component/icon";
import { Empty } from "../component/page";
import { Search } from "../component/search";
import { ChangeText, Named, SoftwareMarks } from "../component/software-cell";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { bytes, day, isSet } from "../format";
import { UninstallDialog } from "./uninstall";

/** DeviceSoftware lists the programs of a device, lets some be uninstalled, and shows what came and went. */
export function DeviceSoftware({ device }: { device: Device }) {
  const { t } = useTranslation();
  const filters = useFilters(["view", "q", "source"] as const);
  const history = filters.values.view === "history";
  return (
    <Stack>
      <Group>
        <SegmentedControl
          aria-label={t("software.view")}
          value={history ? "history" : "installed"}
          onChange={(v) => filters.set("view", v === "history" ? v : "")}
          data={[
            { value: "installed", label: t("software.installed") },
            { value: "history", label: t("software.history") },
          ]}
        />
      </Group>
      {history ? <History device={device} /> : <InstalledList device={device} />}
    </Stack>
  );
}

function InstalledList({ device }: { device: Device }) {
  const { t, i18n } = useTranslation();
  const filters = useFilters(["q", "source"] as const);
  const { q, source } = filters.values;
  const raw = usePaged(["software", device.id], (query, signal) => api.deviceSoftware(device.id, query, signal), { q, source }, 25);
  const page = useMemo(() => ({ ...raw, items: raw.items.map((s) => ({ ...s, id: s.key })) }), [raw]);
  const [chosen, setChosen] = useState<ReadonlyMap<string, Installed>>(new Map());
  const [asking, ask] = useDisclosure();
  const columns = useMemo<Column<Installed & { id: string }>[]>(
    () => [
      { id: "name", header: t("software.name"), cell: (s) => <Named summary={s.summary}><Anchor component={Link} to={`/software/${s.software_id}`} fw={600}>{s.name}</Anchor></Named> },
      { id: "version", header: t("software.version"), cell: (s) => s.version || "–" },
      { id: "source", header: t("software.source"), cell: (s) => <span className="whole">{[s.source, s.arch].filter(Boolean).join(" · ")}</span> },
      { id: "size", header: t("software.size"), cell: (s) => <span className="whole">{s.size_bytes > 0 ? bytes(s.size_bytes, i18n.language) : "–"}</span> },
      { id: "date", header: t("software.installedAt"), cell: (s) => <span className="whole">{isSet(s.installed_at) ? day(s.installed_at, i18n.language) : "–"}</span> },
      { id: "marks", header: t("software.marks"), cell: (s) => (s.essential || s.condition ? <SoftwareMarks software={s} /> : "–") },
    ],
    [t, i18n.language],
  );
  const rows = new Map(page.items.map((s) => [s.key, s]));
  const toggle = (key: string, on: boolean) => {
    const next = new Map(chosen);
    const row = rows.get(key);
    if (on && row) next.set(key, row);
    else next.delete(key);
    setChosen(next);
  };
  return (
    <Stack>
      <Group align="flex-end" justify="space-between">
        <Search label={t("software.searchLabel")} placeholder={t("software.searchPlaceholder")} value={q} onChange={(v) => filters.set("q", v)} />
        {device.state === "active" && (
          <Group gap="sm">
            <Text size="sm" c="dimmed" aria-live="polite">{t("software.chosen", { count: chosen.size })}</Text>
            {chosen.size > 0 && <Button variant="subtle" onClick={() => setChosen(new Map())}>{t("software.unchoose")}</Button>}
            <Button color="red" variant="light" disabled={chosen.size === 0} onClick={ask.open}>{t("uninstall.open")}</Button>
          </Group>
        )}
      </Group>
      <DataTable
        label={t("software.title")}
        page={page}
        columns={columns}
        selection={
          device.state === "active"
            ? { has: (k) => chosen.has(k), toggle, locked: (k) => rows.get(k)?.essential ?? false, label: (k) => t("software.select", { name: rows.get(k)?.name ?? k }) }
            : undefined
        }
        empty={
          q || source ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} />
          ) : (
            <Empty icon={<SoftwareIcon size={32} />} title={t("software.deviceEmptyTitle")} hint={t("software.deviceEmptyHint")} />
          )
        }
      />
      <UninstallDialog chosen={[...chosen.values()]} opened={asking} onClose={ask.close} onAsked={() => setChosen(new Map())} />
    </Stack>
  );
}

function History({ device }: { device: Device }) {
  const { t } = useTranslation();
  const page = usePaged(["software", device.id, "history"], (query, signal) => api.deviceSoftwareHistory(device.id, query, signal));
  const columns = useMemo<Column<SoftwareChange>[]>(
    () => [
      { id: "name", header: t("software.name"), cell: (c) => <Anchor component={Link} to={`/software/${c.software_id}`} fw={600}>{c.name}</Anchor> },
      { id: "change", header: t("software.change"), cell: (c) => <ChangeText change={c} /> },
      { id: "time", header: t("software.heard"), cell: (c) => <Time at={c.time} /> },
    ],
    [t],
  );
  return <DataTable label={t("software.history")} page={page} columns={columns} empty={<Empty icon={<SoftwareIcon size={32} />} title={t("software.historyEmptyTitle")} hint={t("software.historyEmptyHint")} />} />;
}
