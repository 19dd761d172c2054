import { Anchor, Button, Group, Select } from "@mantine/core";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { SoftwareTitle } from "../api/types";
import { Choice } from "../component/choice";
import { useFilters } from "../component/filter";
import { SearchIcon, SoftwareIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { Search } from "../component/search";
import { Named } from "../component/software-cell";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";

/** The sources that are most met; another one is filtered by in the address. */
const SOURCES = ["dpkg", "rpm", "apk", "pacman", "snap", "flatpak", "pip", "npm", "gem", "windows"];

export default function Software() {
  const { t } = useTranslation();
  const filters = useFilters(["q", "source", "sort"] as const);
  const { q, source, sort } = filters.values;
  const page = usePaged(["software", "titles"], api.software, { q, source, sort });
  const columns = useMemo<Column<SoftwareTitle>[]>(
    () => [
      { id: "name", header: t("software.name"), cell: (s) => <Named summary={s.summary}><Anchor component={Link} to={`/software/${s.id}`} fw={600}>{s.name}</Anchor></Named> },
      { id: "publisher", header: t("software.publisher"), cell: (s) => s.publisher || "–" },
      { id: "source", header: t("software.source"), cell: (s) => s.source },
      { id: "devices", header: t("software.devices"), cell: (s) => s.devices },
      { id: "seen", header: t("software.firstSeen"), cell: (s) => <Time at={s.first_seen_at} /> },
    ],
    [t],
  );
  const active = q !== "" || source !== "";
  return (
    <Page title={t("software.title")} subtitle={t("software.subtitle")}>
      <Group align="flex-end">
        <Search label={t("software.searchLabel")} placeholder={t("software.titlePlaceholder")} value={q} onChange={(v) => filters.set("q", v)} />
        <Choice label={t("software.source")} value={source} onChange={(v) => filters.set("source", v)} data={SOURCES.map((s) => ({ value: s, label: s }))} />
        <Select
          label={t("software.sort")}
          flex="1 1 150px"
          maw={200}
          allowDeselect={false}
          data={[
            { value: "name", label: t("software.sort_name") },
            { value: "devices", label: t("software.sort_devices") },
          ]}
          value={sort || "name"}
          onChange={(v) => filters.set("sort", v === "devices" ? v : "")}
        />
        {active && <Button variant="subtle" onClick={filters.clear}>{t("common.clearFilters")}</Button>}
      </Group>
      <DataTable
        label={t("software.title")}
        page={page}
        columns={columns}
        empty={
          active ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} />
          ) : (
            <Empty icon={<SoftwareIcon size={32} />} title={t("software.emptyTitle")} hint={t("software.emptyHint")} />
          )
        }
      />
    </Page>
  );
}
