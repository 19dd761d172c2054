import { Anchor, Badge, Button, Group as Row, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { Group } from "../api/types";
import { Choice } from "../component/choice";
import { useFilters } from "../component/filter";
import { GroupIcon, PlusIcon, SearchIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { useVersion } from "../component/release-choice";
import { Search } from "../component/search";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { logLevels } from "../log";
import { GroupDialog } from "./group-dialog";

const KINDS = ["static", "search"] as const;

export default function Groups() {
  const { t } = useTranslation();
  const [creating, create] = useDisclosure();
  const filters = useFilters(["q", "kind"] as const);
  const { q, kind } = filters.values;
  const page = usePaged("groups", api.groups, { q, kind });
  const columns = useMemo<Column<Group>[]>(
    () => [
      {
        id: "name",
        header: t("common.name"),
        cell: (g) => (
          <Stack gap={0} align="flex-start">
            <Anchor component={Link} to={`/groups/${g.id}`} fw={600}>{g.name}</Anchor>
            {g.description && <Text size="xs" c="dimmed" fw={400} lineClamp={2}>{g.description}</Text>}
          </Stack>
        ),
      },
      { id: "kind", header: t("group.kind"), cell: (g) => <KindBadge kind={g.kind} /> },
      { id: "members", header: t("group.members"), cell: (g) => g.members },
      { id: "settings", header: t("group.settings"), cell: (g) => <Settings group={g} /> },
      { id: "created", header: t("common.created"), cell: (g) => <Time at={g.created_at} /> },
    ],
    [t],
  );
  const button = <Button leftSection={<PlusIcon size={16} />} onClick={create.open}>{t("group.create")}</Button>;
  return (
    <Page title={t("group.title")} subtitle={t("group.subtitle")} actions={button}>
      <Row align="flex-end">
        <Search label={t("group.searchLabel")} placeholder={t("group.searchPlaceholder")} value={q} onChange={(v) => filters.set("q", v)} />
        <Choice label={t("group.kind")} value={kind} onChange={(v) => filters.set("kind", v)} data={KINDS.map((k) => ({ value: k, label: t(`group.kind_${k}`) }))} />
      </Row>
      <DataTable
        label={t("group.title")}
        page={page}
        columns={columns}
        empty={
          filters.active ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} action={<Button variant="default" onClick={filters.clear}>{t("common.clearFilters")}</Button>} />
          ) : (
            <Empty icon={<GroupIcon size={32} />} title={t("group.emptyTitle")} hint={t("group.emptyHint")} action={button} />
          )
        }
      />
      <GroupDialog opened={creating} onClose={create.close} />
    </Page>
  );
}

export function KindBadge({ kind }: { kind: Group["kind"] }) {
  const { t } = useTranslation();
  return <Badge variant="light" color={kind === "search" ? "blue" : "gray"} tt="none">{t(`group.kind_${kind}`)}</Badge>;
}

/** Settings says what members are told, in few words. */
function Settings({ group: g }: { group: Group }) {
  const { t } = useTranslation();
  const version = useVersion(g.release_id);
  const level = logLevels.find((l) => l === g.log_level);
  const words = [level && t("group.logFrom", { level: t(`log.level_${level}`) }), g.release_id && t("group.becomes", { version })].filter(Boolean);
  return <>{words.length > 0 ? words.join(", ") : "–"}</>;
}
