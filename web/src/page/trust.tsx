import { Alert, Anchor, Button, Card, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { keys, whole } from "../api/query";
import type { Trust } from "../api/types";
import { useAct } from "../component/act";
import { confirm } from "../component/confirm";
import { CopyBlock, Copyable } from "../component/copy";
import { Fact, Facts } from "../component/facts";
import { ShieldIcon, WarningIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Page } from "../component/page";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { isSet } from "../format";

const ROLES = ["author", "release", "server", "root"] as const;

export default function TrustPage() {
  const trust = useQuery({ queryKey: keys.trust, queryFn: api.trust });
  return <Loaded query={trust}>{(data) => <Detail trust={data} />}</Loaded>;
}

function Detail({ trust }: { trust: Trust }) {
  const { t } = useTranslation();
  return (
    <Page title={t("trust.title")} subtitle={t("trust.subtitle")}>
      <Power trust={trust} />
      <Followers trust={trust} />
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Card withBorder><Document trust={trust} /></Card>
        <Card withBorder><ThisServer /></Card>
      </SimpleGrid>
      <Keys trust={trust} />
    </Page>
  );
}

/** Power says what whoever takes the server over could sign. */
function Power({ trust }: { trust: Trust }) {
  const { t } = useTranslation();
  if (!trust.server_can_sign && !trust.root_on_server) {
    return (
      <Alert color="teal" icon={<ShieldIcon />} title={t("trust.cannotSign")}>
        <Text size="sm">{t("trust.cannotSignText")}</Text>
      </Alert>
    );
  }
  return (
    <Alert color="yellow" icon={<WarningIcon />} title={trust.server_can_sign ? t("trust.canSign") : t("trust.holdsRoot")}>
      <Stack gap="xs">
        <Text size="sm">{trust.server_can_sign ? t("trust.canSignText") : t("trust.holdsRootText")}</Text>
        <Text size="sm">{t("trust.takeOverHint")}</Text>
        <CopyBlock value="muster trust take-over --root-file root.pem --author-file author.pem" label={t("trust.takeOver")} />
      </Stack>
    </Alert>
  );
}

/** Followers says which devices still go by an older document, or know a newer one. */
function Followers({ trust }: { trust: Trust }) {
  const { t } = useTranslation();
  const { total, behind, ahead } = trust.devices;
  return (
    <>
      {ahead > 0 && (
        <Alert color="red" icon={<WarningIcon />} title={t("trust.ahead", { count: ahead })}>
          <Stack gap="xs">
            <Text size="sm">{t("trust.aheadText")}</Text>
            <CopyBlock value="muster trust publish FILE" label={t("trust.publish")} />
          </Stack>
        </Alert>
      )}
      {total > 0 && (
        <Text size="sm">
          {behind === 0 ? total > ahead && t("trust.allConfirmed", { count: total - ahead, version: trust.version }) : t("trust.someConfirmed", { confirmed: total - behind - ahead, total, version: trust.version })}{" "}
          {behind > 0 && <Anchor component={Link} to={`/devices?trust_below=${trust.version}`}>{t("trust.showBehind", { count: behind })}</Anchor>}
        </Text>
      )}
    </>
  );
}

function Document({ trust }: { trust: Trust }) {
  const { t } = useTranslation();
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{t("trust.document")}</Title>
      <Facts>
        <Fact label={t("trust.version")}>{trust.version}</Fact>
        <Fact label={t("trust.issued")}><Time at={trust.issued_at} /></Fact>
        <Fact label={t("trust.revoked")}>{trust.revoked?.length || undefined}</Fact>
        <Fact label={t("trust.root")}><Copyable value={trust.root_fingerprint} /></Fact>
      </Facts>
      <Text size="sm" c="dimmed">{t("trust.rootHint")}</Text>
      <div>
        <Button variant="default" size="xs" component="a" href={`data:application/json;base64,${trust.envelope}`} download={`trust-${trust.version}.json`}>{t("trust.download")}</Button>
      </div>
    </Stack>
  );
}

function ThisServer() {
  const { t } = useTranslation();
  const server = useQuery({ queryKey: keys.server, queryFn: api.server });
  const s = server.data;
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{t("trust.serverFacts")}</Title>
      {s && (
        <Facts>
          <Fact label={t("common.name")}>{s.name}</Fact>
          <Fact label={t("trust.serverVersion")}>{s.version}</Fact>
          <Fact label={t("trust.started")}><Time at={s.started_at} /></Fact>
          <Fact label={t("trust.addresses")}>{(s.urls ?? []).join(", ")}</Fact>
          <Fact label={t("trust.ca")}><Copyable value={s.ca_fingerprint} /></Fact>
        </Facts>
      )}
    </Stack>
  );
}

function Keys({ trust }: { trust: Trust }) {
  const { t } = useTranslation();
  const role = (name: string) => {
    const known = ROLES.find((r) => r === name);
    return known ? t(`trust.role_${known}`) : name;
  };
  const needed = (roles: string[]) => roles.map((r) => `${r}: ${trust.thresholds?.[r] ?? 1}`).join(", ");
  const { mutate, isPending } = useAct((id: string) => api.removeTrustKey(id), ["trust", "server", "packages"], () => t("trust.removed"));
  const ask = (id: string) => confirm({ title: t("trust.removeTitle"), text: t("trust.removeText", { id }), action: t("trust.remove"), onConfirm: () => mutate(id) });
  const columns: Column<NonNullable<Trust["keys"]>[number]>[] = [
    { id: "key", header: t("trust.key"), cell: (k) => <Copyable value={k.id} /> },
    { id: "roles", header: t("trust.roles"), cell: (k) => k.roles.map(role).join(", ") },
    { id: "threshold", header: t("trust.threshold"), cell: (k) => needed(k.roles) },
    { id: "added", header: t("trust.added"), cell: (k) => (isSet(k.added_at) ? <Time at={k.added_at} /> : "–") },
  ];
  if (trust.root_on_server) {
    columns.push({
      id: "actions",
      header: t("common.actions"),
      cell: (k) =>
        k.roles.includes("root") ? "–" : (
          <Button size="xs" variant="light" color="red" disabled={isPending} onClick={() => ask(k.id)} aria-label={`${t("trust.remove")}: ${k.id}`}>{t("trust.remove")}</Button>
        ),
    });
  }
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{t("trust.keys")}</Title>
      <DataTable label={t("trust.keys")} page={whole(trust.keys ?? [])} columns={columns} empty={<Text size="sm" c="dimmed">{t("common.none")}</Text>} />
      <Text size="sm" c="dimmed">{t("trust.changesHint")}</Text>
    </Stack>
  );
}
