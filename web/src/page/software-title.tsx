import { Alert, Anchor, Button, Card, Group, SimpleGrid, Stack, Table, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { Link, useParams } from "react-router";
import { api } from "../api/client";
import { keys, usePaged } from "../api/query";
import type { Installed, SoftwareChange, SoftwareDetail } from "../api/types";
import { DeviceBadge } from "../component/badge";
import { Copyable } from "../component/copy";
import { Fact, Facts } from "../component/facts";
import { useFilters } from "../component/filter";
import { SoftwareIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Empty, Page } from "../component/page";
import { Search } from "../component/search";
import { ChangeText, SoftwareMarks } from "../component/software-cell";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { bytes, day, isSet } from "../format";
import { UninstallDialog } from "./uninstall";

export default function SoftwareTitlePage() {
  const { t } = useTranslation();
  const id = useParams().id ?? "";
  const software = useQuery({ queryKey: keys.one("software", id), queryFn: () => api.softwareTitle(id) });
  return <Loaded query={software} parent={{ to: "/software", label: t("software.title") }}>{(s) => <Detail key={s.id} software={s} />}</Loaded>;
}

function Detail({ software }: { software: SoftwareDetail }) {
  const { t } = useTranslation();
  return (
    <Page title={software.name} subtitle={software.summary} parent={{ to: "/software", label: t("software.title") }}>
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Card withBorder>
          <Facts>
            <Fact label={t("software.source")}>{software.source}</Fact>
            <Fact label={t("software.publisher")}>{software.publisher}</Fact>
            <Fact label={t("software.devices")}>{software.devices}</Fact>
            <Fact label={t("software.firstSeen")}><Time at={software.first_seen_at} /></Fact>
            <Fact label={t("software.purl")}><Copyable value={software.purl} /></Fact>
          </Facts>
        </Card>
        <Card withBorder><Versions software={software} /></Card>
      </SimpleGrid>
      <Devices software={software} />
      <History software={software} />
    </Page>
  );
}

/** Versions lists what is out there; a click narrows the devices below to one. */
function Versions({ software }: { software: SoftwareDetail }) {
  const { t } = useTranslation();
  const filters = useFilters(["version"] as const);
  return (
    <Stack gap="sm">
      <Title order={2} size="h4">{t("software.versions")}</Title>
      {software.versions.length === 0 ? (
        <Text size="sm" c="dimmed">{t("software.noVersions")}</Text>
      ) : (
        <Table.ScrollContainer minWidth={280} mah={320} scrollAreaProps={{ viewportProps: { tabIndex: 0, role: "region", "aria-label": t("software.versions") } }}>
          <Table aria-label={t("software.versions")}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{t("software.version")}</Table.Th>
                <Table.Th scope="col">{t("software.devices")}</Table.Th>
                <Table.Th scope="col">{t("software.firstSeen")}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {software.versions.map((v) => (
                <Table.Tr key={v.version}>
                  <Table.Td className="breakable">
                    <Anchor component="button" type="button" size="sm" aria-pressed={filters.values.version === v.version} onClick={() => filters.set("version", filters.values.version === v.version ? "" : v.version)}>{v.version || "–"}</Anchor>
                  </Table.Td>
                  <Table.Td>{v.devices}</Table.Td>
                  <Table.Td><Time at={v.first_seen_at} /></Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Stack>
  );
}

type Row = Installed & { id: string };

function Devices({ software }: { software: SoftwareDetail }) {
  const { t, i18n } = useTranslation();
  const filters = useFilters(["q", "version"] as const);
  const { q, version } = filters.values;
  const raw = usePaged(["software", software.id, "devices"], (query, signal) => api.softwareDevices(software.id, query, signal), { q, version });
  const page = useMemo(() => ({ ...raw, items: raw.items.map((s): Row => ({ ...s, id: `${s.device_id} ${s.key}` })) }), [raw]);
  const [chosen, setChosen] = useState<ReadonlyMap<string, Row>>(new Map());
  const [asking, ask] = useDisclosure();
  const columns = useMemo<Column<Row>[]>(
    () => [
      { id: "device", header: t("software.device"), cell: (s) => <Anchor component={Link} to={`/devices/${s.device_id}/software`} fw={600}>{s.hostname || s.device_id}</Anchor> },
      { id: "state", header: t("common.state"), cell: (s) => <DeviceBadge state={s.state} /> },
      { id: "version", header: t("software.version"), cell: (s) => [s.version, s.arch].filter(Boolean).join(" · ") || "–" },
      { id: "size", header: t("software.size"), cell: (s) => <span className="whole">{s.size_bytes > 0 ? bytes(s.size_bytes, i18n.language) : "–"}</span> },
      { id: "date", header: t("software.installedAt"), cell: (s) => <span className="whole">{isSet(s.installed_at) ? day(s.installed_at, i18n.language) : "–"}</span> },
      { id: "marks", header: t("software.marks"), cell: (s) => (s.essential || s.condition ? <SoftwareMarks software={s} /> : "–") },
    ],
    [t, i18n.language],
  );
  const rows = new Map(page.items.map((s) => [s.id, s]));
  const toggle = (id: string, on: boolean) => {
    const next = new Map(chosen);
    const row = rows.get(id);
    if (on && row) next.set(id, row);
    else next.delete(id);
    setChosen(next);
  };
  const locked = (id: string) => {
    const row = rows.get(id);
    return !!row && (row.essential || row.state !== "active");
  };
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{t("software.onDevices")}</Title>
      <Group align="flex-end" justify="space-between">
        <Search label={t("picker.search")} value={q} onChange={(v) => filters.set("q", v)} />
        <Group gap="sm">
          <Text size="sm" c="dimmed" aria-live="polite">{t("picker.selected", { count: new Set([...chosen.values()].map((c) => c.device_id)).size })}</Text>
          <Button color="red" variant="light" disabled={chosen.size === 0} onClick={ask.open}>{t("uninstall.open")}</Button>
        </Group>
      </Group>
      {version && <Alert color="blue" withCloseButton closeButtonLabel={t("common.clearFilters")} onClose={() => filters.set("version", "")}>{t("software.onlyVersion", { version })}</Alert>}
      <DataTable
        label={t("software.onDevices")}
        page={page}
        columns={columns}
        selection={{ has: (id) => chosen.has(id), toggle, locked, label: (id) => t("picker.select", { hostname: rows.get(id)?.hostname || id }) }}
        empty={<Empty icon={<SoftwareIcon size={32} />} title={q || version ? t("common.noMatch") : t("software.nowhere")} hint={q || version ? t("common.noMatchHint") : t("software.nowhereHint")} />}
      />
      <UninstallDialog chosen={[...chosen.values()]} opened={asking} onClose={ask.close} onAsked={() => setChosen(new Map())} />
    </Stack>
  );
}

function History({ software }: { software: SoftwareDetail }) {
  const { t } = useTranslation();
  const page = usePaged(["software", software.id, "history"], (query, signal) => api.softwareHistory(software.id, query, signal), {}, 20);
  const columns = useMemo<Column<SoftwareChange>[]>(
    () => [
      { id: "device", header: t("software.device"), cell: (c) => <Anchor component={Link} to={`/devices/${c.device_id}`}>{c.hostname || c.device_id}</Anchor> },
      { id: "change", header: t("software.change"), cell: (c) => <ChangeText change={c} /> },
      { id: "time", header: t("software.heard"), cell: (c) => <Time at={c.time} /> },
    ],
    [t],
  );
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{t("software.history")}</Title>
      <DataTable label={t("software.history")} page={page} columns={columns} empty={<Text size="sm" c="dimmed">{t("software.historyEmptyHint")}</Text>} />
    </Stack>
  );
}
