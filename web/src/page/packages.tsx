import { Anchor, Button, Group, Text, TextInput } from "@mantine/core";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { Package } from "../api/types";
import { PackageBadge } from "../component/badge";
import { Choice } from "../component/choice";
import { useFilters, useSearchText } from "../component/filter";
import { PackageIcon, PlusIcon, SearchIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { packageStates } from "../state";

export default function Packages() {
  const { t } = useTranslation();
  const filters = useFilters(["q", "state"] as const);
  const [text, setText] = useSearchText(filters.values.q, (v) => filters.set("q", v));
  const page = usePaged("packages", api.packages, filters.values);
  const columns = useMemo<Column<Package>[]>(
    () => [
      { id: "package", header: t("packages.package"), cell: (p) => <Anchor component={Link} to={`/packages/${p.id}`} fw={600}>{p.name} {p.version}</Anchor> },
      {
        id: "state",
        header: t("common.state"),
        cell: (p) => (
          <Group gap={8}>
            <PackageBadge state={p.state} />
            {p.state === "draft" && <Text span size="sm" c="dimmed">{p.partial ? t("packages.collecting", { have: p.partial.signed_by?.length ?? 0, needed: p.partial.needed }) : p.signed ? t("packages.signed") : t("packages.notSigned")}</Text>}
            {p.state === "active" && p.refusal && <Text span size="sm" c="red">{p.refusal === "revoked" ? t("packages.revoked") : t("packages.signAgain")}</Text>}
          </Group>
        ),
      },
      { id: "action", header: t("packages.action"), cell: (p) => t(`packages.action_${p.action}`) },
      { id: "priority", header: t("packages.priority"), cell: (p) => p.priority },
      {
        id: "deployments",
        header: t("packages.deployments"),
        cell: (p) => (p.deployments?.total ? <Text span size="sm">{t("packages.counts", { ...p.deployments })}</Text> : <Text span size="sm" c="dimmed">{t("common.none")}</Text>),
      },
      { id: "created", header: t("common.created"), cell: (p) => <Time at={p.created_at} /> },
    ],
    [t],
  );
  const create = <Button component={Link} to="/packages/new" leftSection={<PlusIcon size={16} />}>{t("packages.create")}</Button>;
  return (
    <Page title={t("packages.title")} subtitle={t("packages.subtitle")} actions={create}>
      <Group align="flex-end">
        <TextInput label={t("packages.searchLabel")} placeholder={t("packages.searchPlaceholder")} leftSection={<SearchIcon size={16} />} value={text} onChange={(e) => setText(e.currentTarget.value)} flex="1 1 220px" maw={360} type="search" />
        <Choice label={t("common.state")} value={filters.values.state} onChange={(v) => filters.set("state", v)} data={packageStates.map((s) => ({ value: s, label: t(`packages.state_${s}`) }))} />
      </Group>
      <DataTable
        label={t("packages.title")}
        page={page}
        columns={columns}
        empty={
          filters.active ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} action={<Button variant="default" onClick={filters.clear}>{t("common.clearFilters")}</Button>} />
          ) : (
            <Empty icon={<PackageIcon size={32} />} title={t("packages.emptyTitle")} hint={t("packages.emptyHint")} action={create} />
          )
        }
      />
    </Page>
  );
}
