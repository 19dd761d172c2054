import { Accordion, Alert, Anchor, Badge, Group, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { keys, usePaged, type Paged } from "../api/query";
import type { Device, Inventory, SectionInfo, SectionRows } from "../api/types";
import { Fact, Facts } from "../component/facts";
import { useFilters } from "../component/filter";
import { LogIcon, SearchIcon, WarningIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Empty } from "../component/page";
import { Search } from "../component/search";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { cellText, inOrder, sectionColumns, single, title, type Row } from "../section";

/** From so many rows on a section has a search field. */
const SEARCH_FROM = 20;

/** DeviceInventory lists what the device's inventories have found, section by section. */
export function DeviceInventory({ device }: { device: Device }) {
  const inventory = useQuery({ queryKey: keys.one("inventory", device.id), queryFn: () => api.inventory(device.id) });
  return <Loaded query={inventory}>{(i) => <Sections device={device} inventory={i} />}</Loaded>;
}

function Sections({ device, inventory }: { device: Device; inventory: Inventory }) {
  const { t } = useTranslation();
  const filters = useFilters(["section"] as const);
  if (inventory.sections.length === 0) {
    return <Empty icon={<LogIcon size={32} />} title={t("inventory.emptyTitle")} hint={t("inventory.emptyHint")} />;
  }
  return (
    <Stack>
      {inventory.collected_at && <Text size="sm" c="dimmed" component="div">{t("inventory.collected")} <Time at={inventory.collected_at} /></Text>}
      <Accordion variant="separated" order={2} keepMounted={false} value={filters.values.section || null} onChange={(v) => filters.set("section", v ?? "")}>
        {inOrder(inventory.sections).map((s) => (
          <Accordion.Item key={s.name} value={s.name}>
            <Accordion.Control><Heading section={s} /></Accordion.Control>
            <Accordion.Panel><Section device={device} section={s} /></Accordion.Panel>
          </Accordion.Item>
        ))}
      </Accordion>
    </Stack>
  );
}

/** useNames gives sections and fields their words; what this page has no word for keeps its own name. */
function useNames() {
  const { t, i18n } = useTranslation();
  return useMemo(() => {
    const word = (key: string, name: string) => (i18n.exists(key) ? t(key as "inventory.section_cpus") : title(name));
    return {
      section: (name: string) => word(`inventory.section_${name}`, name),
      field: (name: string) => word(`inventory.field_${name}`, name),
    };
  }, [t, i18n]);
}

function Heading({ section }: { section: SectionInfo }) {
  const { t } = useTranslation();
  const names = useNames();
  return (
    <Group gap="sm" component="span">
      <Text span fw={600}>{names.section(section.name)}</Text>
      {(!single.has(section.name) || section.rows !== 1) && <Text span size="sm" c="dimmed">{t("inventory.rows", { count: section.rows })}</Text>}
      {section.problem && <Badge component="span" variant="light" color="orange" tt="none">{t("inventory.problem")}</Badge>}
    </Group>
  );
}

function Section({ device, section }: { device: Device; section: SectionInfo }) {
  const { t } = useTranslation();
  return (
    <Stack gap="sm">
      {section.problem && (
        <Alert color="orange" icon={<WarningIcon />} title={section.received_at ? t("inventory.problemTitle") : t("inventory.problemNone")}>
          <Text size="sm" className="breakable">{section.problem}</Text>
        </Alert>
      )}
      {section.collected_at && <Text size="sm" c="dimmed" component="div">{t("inventory.collected")} <Time at={section.collected_at} /></Text>}
      {section.name === "software" && <Anchor component={Link} to={`/devices/${device.id}/software`} size="sm">{t("inventory.toSoftware")}</Anchor>}
      {section.name !== "software" && (section.received_at || !section.problem) && <Rows device={device} section={section} />}
    </Stack>
  );
}

function Rows({ device, section }: { device: Device; section: SectionInfo }) {
  const { t, i18n } = useTranslation();
  const names = useNames();
  const [q, setQ] = useState("");
  const raw = usePaged<Row>(["inventory", device.id, section.name], (query, signal) => api.section(device.id, section.name, query, signal) as Promise<SectionRows>, { q });
  const page = useMemo<Paged<{ id: string; row: Row }>>(() => ({ ...raw, items: raw.items.map((row) => ({ id: String(row.key), row })) }), [raw]);
  const words = useMemo(() => ({ yes: t("common.yes"), no: t("common.no"), language: i18n.language }), [t, i18n.language]);
  const shown = useMemo(() => sectionColumns(section.name, raw.items), [section.name, raw.items]);
  const columns = useMemo<Column<{ id: string; row: Row }>[]>(
    () => shown.map((c) => ({ id: c.field, header: names.field(c.field), cell: ({ row }) => cellText(row[c.field], c.form, words) || "–" })),
    [shown, names, words],
  );
  const one = raw.items[0];
  if (single.has(section.name) && one && raw.items.length === 1) {
    return (
      <Facts>
        {shown.map((c) => <Fact key={c.field} label={names.field(c.field)}>{cellText(one[c.field], c.form, words)}</Fact>)}
      </Facts>
    );
  }
  return (
    <>
      {section.rows >= SEARCH_FROM && <Search label={t("inventory.search")} value={q} onChange={setQ} />}
      <DataTable
        label={names.section(section.name)}
        page={page}
        columns={columns}
        empty={q ? <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} /> : <Text size="sm" c="dimmed">{t("inventory.noRows")}</Text>}
      />
    </>
  );
}
