import { Alert, Group, Text } from "@mantine/core";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { usePaged, type Paged } from "../api/query";
import type { SectionInfo, SectionRows as Found } from "../api/types";
import { cellText, moduleColumns, moduleOf, sectionColumns, single, title, type Row } from "../section";
import { Fact, Facts } from "./facts";
import { SearchIcon, WarningIcon } from "./icon";
import { Empty } from "./page";
import { Search } from "./search";
import { DataTable, type Column } from "./table";
import { Time } from "./time";

/** From so many rows on a section has a search field. */
const SEARCH_FROM = 20;

/** useSectionNames gives sections and fields their words; what this page has no word for keeps its own name. */
export function useSectionNames() {
  const { t, i18n } = useTranslation();
  return useMemo(() => {
    const word = (key: string, name: string) => (i18n.exists(key) ? t(key as "inventory.section_cpus") : title(name));
    return {
      section: (name: string) => word(`inventory.section_${name}`, name),
      field: (name: string) => word(`inventory.field_${name}`, name),
    };
  }, [t, i18n]);
}


/** SectionState says when a section was read, and what of it could not be. */
export function SectionState({ section }: { section: SectionInfo }) {
  const { t } = useTranslation();
  return (
    <>
      {section.problem && (
        <Alert color="orange" icon={<WarningIcon />} title={section.received_at ? t("inventory.problemTitle") : t("inventory.problemNone")}>
          <Text size="sm" className="breakable">{section.problem}</Text>
        </Alert>
      )}
      {section.collected_at && <Text size="sm" c="dimmed" component="div">{t("inventory.collected")} <Time at={section.collected_at} /></Text>}
    </>
  );
}

/** SectionRows shows what a section holds: facts where it is one row, else a table. */
export function SectionRows({ deviceId, section, label }: { deviceId: string; section: SectionInfo; label?: string }) {
  const { t, i18n } = useTranslation();
  const names = useSectionNames();
  const [q, setQ] = useState("");
  const raw = usePaged<Row>(["inventory", deviceId, section.name], (query, signal) => api.section(deviceId, section.name, query, signal) as Promise<Found>, { q });
  const page = useMemo<Paged<{ id: string; row: Row }>>(() => ({ ...raw, items: raw.items.map((row) => ({ id: String(row.key), row })) }), [raw]);
  const words = useMemo(() => ({ yes: t("common.yes"), no: t("common.no"), language: i18n.language }), [t, i18n.language]);
  const shown = useMemo(
    () => (moduleOf(section.name) !== undefined && section.columns ? moduleColumns(section.columns) : sectionColumns(section.name, raw.items)),
    [section.name, section.columns, raw.items],
  );
  const columns = useMemo<Column<{ id: string; row: Row }>[]>(
    () => shown.map((c) => ({ id: c.field, header: c.title || names.field(c.field), cell: ({ row }) => cellText(row[c.field], c.form, words) || "–" })),
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
      {section.rows >= SEARCH_FROM && <Group><Search label={t("inventory.search")} value={q} onChange={setQ} /></Group>}
      <DataTable
        label={label ?? names.section(section.name)}
        page={page}
        columns={columns}
        empty={q ? <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} /> : <Text size="sm" c="dimmed">{t("inventory.noRows")}</Text>}
      />
    </>
  );
}
