import { Alert, Button, Card, SimpleGrid, Stack, Table, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Trust } from "../api/types";
import { Copyable } from "../component/copy";
import { Fact, Facts } from "../component/facts";
import { ShieldIcon, WarningIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Page } from "../component/page";
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
      {trust.server_can_sign ? (
        <Alert color="yellow" icon={<WarningIcon />} title={t("trust.canSign")}>
          <Text size="sm">{t("trust.canSignText")}</Text>
        </Alert>
      ) : (
        <Alert color="teal" icon={<ShieldIcon />} title={t("trust.cannotSign")}>
          <Text size="sm">{t("trust.cannotSignText")}</Text>
        </Alert>
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Card withBorder><Document trust={trust} /></Card>
        <Card withBorder><ThisServer /></Card>
      </SimpleGrid>
      <Keys trust={trust} />
    </Page>
  );
}

function Document({ trust }: { trust: Trust }) {
  const { t } = useTranslation();
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{t("trust.document")}</Title>
      <Facts>
        <Fact label={t("trust.version")}>{trust.version}</Fact>
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
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{t("trust.keys")}</Title>
      <Table.ScrollContainer minWidth={640} scrollAreaProps={{ viewportProps: { tabIndex: 0, role: "region", "aria-label": t("trust.keys") } }}>
        <Table verticalSpacing="sm" aria-label={t("trust.keys")}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t("trust.key")}</Table.Th>
              <Table.Th scope="col">{t("trust.roles")}</Table.Th>
              <Table.Th scope="col">{t("trust.threshold")}</Table.Th>
              <Table.Th scope="col">{t("trust.added")}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {(trust.keys ?? []).map((k) => (
              <Table.Tr key={k.id}>
                <Table.Td><Copyable value={k.id} /></Table.Td>
                <Table.Td>{k.roles.map(role).join(", ")}</Table.Td>
                <Table.Td>{needed(k.roles)}</Table.Td>
                <Table.Td>{isSet(k.added_at) ? <Time at={k.added_at} /> : "–"}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Stack>
  );
}
