import { Alert, Button, Card, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { useParams } from "react-router";
import { api } from "../api/client";
import { keys, usePaged, whole } from "../api/query";
import type { Release } from "../api/types";
import { useAct } from "../component/act";
import { confirm } from "../component/confirm";
import { Copyable } from "../component/copy";
import { Fact, Facts } from "../component/facts";
import { TaskIcon, WarningIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Empty, Page } from "../component/page";
import { DataTable, type Column } from "../component/table";
import { TaskTable } from "../component/task-table";
import { Time } from "../component/time";
import { bytes } from "../format";
import { ReleaseBadge } from "./releases";
import { UpdateDialog } from "./update-agents";

export default function ReleasePage() {
  const { t } = useTranslation();
  const id = useParams().id ?? "";
  const release = useQuery({ queryKey: keys.one("releases", id), queryFn: () => api.release(id) });
  return <Loaded query={release} parent={{ to: "/releases", label: t("release.title") }}>{(r) => <Detail release={r} />}</Loaded>;
}

function Detail({ release: r }: { release: Release }) {
  const { t } = useTranslation();
  const [updating, update] = useDisclosure();
  const retire = useAct(() => api.retireRelease(r.id), ["releases", "tasks"], () => t("release.retired", { version: r.version }));
  const ask = () => confirm({ title: t("release.retireTitle", { version: r.version }), text: t("release.retireText"), action: t("release.retire"), onConfirm: () => retire.mutate() });
  const updates = usePaged("tasks", api.tasks, { release_id: r.id }, 20);
  return (
    <Page
      title={t("release.one", { version: r.version })}
      badge={<ReleaseBadge release={r} />}
      parent={{ to: "/releases", label: t("release.title") }}
      actions={
        r.state === "active" && (
          <>
            <Button variant="light" color="red" onClick={ask} loading={retire.isPending}>{t("release.retire")}</Button>
            <Button onClick={update.open} disabled={!!r.refusal}>{t("update.open")}</Button>
          </>
        )
      }
    >
      {r.state === "active" && r.refusal && (
        <Alert color="red" icon={<WarningIcon />} title={t("release.refused")}>
          <Text size="sm">{t("release.refusedText", { reason: r.refusal })}</Text>
        </Alert>
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Card withBorder><About release={r} /></Card>
        <Card withBorder><Signature release={r} /></Card>
      </SimpleGrid>
      <Builds release={r} />
      <Stack gap="sm">
        <Title order={2} size="h3">{t("release.updates")}</Title>
        <TaskTable page={updates} empty={<Empty icon={<TaskIcon size={32} />} title={t("release.noUpdates")} hint={r.state === "active" ? t("release.noUpdatesHint") : undefined} />} />
      </Stack>
      <UpdateDialog release={r} opened={updating} onClose={update.close} />
    </Page>
  );
}

function About({ release: r }: { release: Release }) {
  const { t } = useTranslation();
  return (
    <>
      <Title order={2} size="h3" mb="sm">{t("release.about")}</Title>
      <Facts>
        <Fact label={t("release.version")}>{r.version}</Fact>
        <Fact label={t("release.notes")}>{r.notes && <Text size="sm" style={{ whiteSpace: "pre-wrap" }}>{r.notes}</Text>}</Fact>
        <Fact label={t("release.downgrade")}>{r.downgrade_from.join(", ")}</Fact>
        <Fact label={t("release.registered")}><Time at={r.created_at} /></Fact>
        <Fact label={t("release.by")}>{r.created_by}</Fact>
        <Fact label={t("release.retiredAt")}>{r.retired_at && <Time at={r.retired_at} />}</Fact>
        <Fact label={t("release.id")}><Copyable value={r.id} /></Fact>
      </Facts>
    </>
  );
}

function Signature({ release: r }: { release: Release }) {
  const { t } = useTranslation();
  return (
    <>
      <Title order={2} size="h3" mb="sm">{t("package.signature")}</Title>
      <Facts>
        <Fact label={t("release.signedBy")}><Stack gap={2}>{r.signed_by.map((key) => <Copyable key={key} value={key} />)}</Stack></Fact>
        <Fact label={t("trust.issued")}><Time at={r.issued_at} /></Fact>
        <Fact label={t("common.expires")}><Time at={r.expires_at} /></Fact>
        <Fact label={t("release.envelope")}><Copyable value={r.envelope} /></Fact>
      </Facts>
    </>
  );
}

type Build = Release["builds"][number] & { id: string };

function Builds({ release: r }: { release: Release }) {
  const { t, i18n } = useTranslation();
  const columns: Column<Build>[] = [
    { id: "platform", header: t("release.platform"), cell: (b) => b.id },
    { id: "size", header: t("release.size"), cell: (b) => <span className="whole">{bytes(b.size, i18n.language)}</span> },
    { id: "fetched", header: t("release.fetched"), cell: (b) => <span className="whole">{bytes(b.archive_size, i18n.language)}</span> },
    { id: "sha256", header: t("release.sha256"), cell: (b) => <Copyable value={b.sha256} /> },
  ];
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{t("release.builds")}</Title>
      <DataTable label={t("release.builds")} page={whole(r.builds.map((b) => ({ ...b, id: `${b.os}/${b.arch}` })))} columns={columns} empty={t("common.none")} />
    </Stack>
  );
}
