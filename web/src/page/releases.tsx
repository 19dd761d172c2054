import { Anchor, Badge, Button, Group, List, Modal, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { Release } from "../api/types";
import { Choice } from "../component/choice";
import { CopyBlock } from "../component/copy";
import { useFilters } from "../component/filter";
import { ReleaseIcon, SearchIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { Search } from "../component/search";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";

const KEY = "muster keygen release.pem\nmuster trust add PUBLIC_KEY --role release";
const CREATE = "muster release create --version 1.1.0 --build linux/amd64=bin/muster-agent --key release.pem";

const STATES = ["active", "retired"] as const;

export default function Releases() {
  const { t } = useTranslation();
  const [teaching, teach] = useDisclosure();
  const filters = useFilters(["q", "state"] as const);
  const { q, state } = filters.values;
  const page = usePaged("releases", api.releases, { q, state });
  const columns = useMemo<Column<Release>[]>(
    () => [
      { id: "version", header: t("release.version"), cell: (r) => <Anchor component={Link} to={`/releases/${r.id}`} fw={600} className="whole">{r.version}</Anchor> },
      { id: "state", header: t("common.state"), cell: (r) => <ReleaseBadge release={r} /> },
      { id: "platforms", header: t("release.platforms"), cell: (r) => r.builds.map((b) => `${b.os}/${b.arch}`).join(", ") },
      { id: "expires", header: t("common.expires"), cell: (r) => <Time at={r.expires_at} /> },
      { id: "created", header: t("release.registered"), cell: (r) => <Time at={r.created_at} /> },
    ],
    [t],
  );
  const button = <Button variant="default" onClick={teach.open}>{t("release.how")}</Button>;
  return (
    <Page title={t("release.title")} subtitle={t("release.subtitle")} actions={button}>
      <Group align="flex-end">
        <Search label={t("release.searchLabel")} placeholder={t("release.searchPlaceholder")} value={q} onChange={(v) => filters.set("q", v)} />
        <Choice label={t("common.state")} value={state} onChange={(v) => filters.set("state", v)} data={STATES.map((s) => ({ value: s, label: t(`release.state_${s}`) }))} />
      </Group>
      <DataTable
        label={t("release.title")}
        page={page}
        columns={columns}
        empty={
          filters.active ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} action={<Button variant="default" onClick={filters.clear}>{t("common.clearFilters")}</Button>} />
          ) : (
            <Empty icon={<ReleaseIcon size={32} />} title={t("release.emptyTitle")} hint={t("release.emptyHint")} action={button} />
          )
        }
      />
      <Modal opened={teaching} onClose={teach.close} title={t("release.how")} size="xl" closeButtonProps={{ "aria-label": t("common.close") }}>
        <Lesson />
      </Modal>
    </Page>
  );
}

/** ReleaseBadge says where a release stands, and whether devices would still take it. */
export function ReleaseBadge({ release: r }: { release: Release }) {
  const { t } = useTranslation();
  return (
    <Group gap={8}>
      <Badge variant="light" tt="none" color={r.state === "active" ? "teal" : "gray"}>{t(`release.state_${r.state}`)}</Badge>
      {r.state === "active" && r.refusal && <Text span size="sm" c="var(--mantine-color-error)">{t("release.refused")}</Text>}
    </Group>
  );
}

/** Lesson is how one makes a release: the keys never come near this page. */
function Lesson() {
  const { t } = useTranslation();
  return (
    <Stack>
      <Text size="sm">{t("release.howText")}</Text>
      <List type="ordered" size="sm" spacing="md" listStyleType="decimal">
        <List.Item>{t("release.howKey")}<CopyBlock value={KEY} label={t("release.howKey")} /></List.Item>
        <List.Item>{t("release.howCreate")}<CopyBlock value={CREATE} label={t("release.howCreate")} /></List.Item>
      </List>
      <Text size="sm" c="dimmed">{t("release.howMore")}</Text>
    </Stack>
  );
}
