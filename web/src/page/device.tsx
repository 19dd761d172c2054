import { Alert, Button, Card, SimpleGrid, Stack, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link, useParams } from "react-router";
import { api } from "../api/client";
import { keys, usePaged } from "../api/query";
import type { Device } from "../api/types";
import { useAct } from "../component/act";
import { Connected, DeviceBadge } from "../component/badge";
import { confirm } from "../component/confirm";
import { Copyable } from "../component/copy";
import { DeploymentTable } from "../component/deployment-table";
import { Fact, Facts } from "../component/facts";
import { DeploymentIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Empty, Page } from "../component/page";
import { Time } from "../component/time";
import { bytes } from "../format";

type DeviceFacts = NonNullable<Device["facts"]>;

export default function DevicePage() {
  const { t } = useTranslation();
  const id = useParams().id ?? "";
  const device = useQuery({ queryKey: keys.one("devices", id), queryFn: () => api.device(id) });
  return <Loaded query={device} parent={{ to: "/devices", label: t("devices.title") }}>{(d) => <Detail device={d} />}</Loaded>;
}

function Detail({ device }: { device: Device }) {
  const { t } = useTranslation();
  const hostname = device.hostname || device.id;
  const wake = useAct(() => api.wakeDevice(device.id), ["devices"], (r) => (r?.connected ? t("device.woken", { hostname }) : t("device.notWoken", { hostname })));
  const approve = useAct(() => api.approveDevice(device.id), ["devices"], () => t("device.approved", { hostname }));
  const revoke = useAct(() => api.revokeDevice(device.id), ["devices"], () => t("device.revoked", { hostname }));
  const askRevoke = () =>
    confirm({ title: t("device.revokeTitle", { hostname }), text: t("device.revokeText"), action: t("device.revoke"), onConfirm: () => revoke.mutate() });
  const deployments = usePaged("deployments", api.deployments, { device_id: device.id }, 20);
  const approveButton = <Button onClick={() => approve.mutate()} loading={approve.isPending}>{t("device.approve")}</Button>;
  return (
    <Page
      title={hostname}
      badge={<><DeviceBadge state={device.state} /><Connected connected={device.connected} /></>}
      parent={{ to: "/devices", label: t("devices.title") }}
      actions={
        device.state !== "revoked" && (
          <>
            {device.state !== "pending" && <Button variant="default" onClick={() => wake.mutate()} loading={wake.isPending}>{t("device.wakeup")}</Button>}
            <Button variant="light" color="red" onClick={askRevoke} loading={revoke.isPending}>{t("device.revoke")}</Button>
          </>
        )
      }
    >
      {(device.state === "pending" || device.state === "quarantined") && (
        <Alert color="yellow" title={t(`device.${device.state}Title`)}>
          <Stack align="flex-start" gap="sm">
            {t(`device.${device.state}Text`)} {device.quarantine_reason}
            {approveButton}
          </Stack>
        </Alert>
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <Card withBorder><About device={device} /></Card>
        <Card withBorder><Identity device={device} /></Card>
      </SimpleGrid>
      <Stack gap="sm">
        <Title order={2} size="h3">{t("device.deployments")}</Title>
        <DeploymentTable
          page={deployments}
          without="device"
          empty={<Empty icon={<DeploymentIcon size={32} />} title={t("device.noDeployments")} hint={t("device.noDeploymentsHint")} action={<Button variant="default" component={Link} to="/packages">{t("device.toPackages")}</Button>} />}
        />
      </Stack>
    </Page>
  );
}

function About({ device }: { device: Device }) {
  const { t, i18n } = useTranslation();
  const f: Partial<DeviceFacts> = device.facts ?? {};
  return (
    <Facts>
      <Fact label={t("devices.system")}>{`${device.os_name || device.os} ${device.os_version}`.trim()}</Fact>
      <Fact label={t("device.kernel")}>{f.kernel}</Fact>
      <Fact label={t("device.arch")}>{`${device.os}/${device.arch}`}</Fact>
      <Fact label={t("device.cpu")}>{f.cpu}</Fact>
      <Fact label={t("device.cores")}>{f.cores || undefined}</Fact>
      <Fact label={t("device.memory")}>{f.memory_bytes ? bytes(f.memory_bytes, i18n.language) : undefined}</Fact>
      <Fact label={t("device.timezone")}>{f.timezone}</Fact>
      <Fact label={t("device.booted")}>{f.booted_at && <Time at={f.booted_at} none={t("common.unknown")} />}</Fact>
      {f.clock_skew_seconds && (
        <Fact label={t("device.clock")}>
          {t(f.clock_skew_seconds > 0 ? "device.clockAhead" : "device.clockBehind", { minutes: Math.round(Math.abs(f.clock_skew_seconds) / 60) })}
        </Fact>
      )}
      <Fact label={t("device.ips")}>{(device.ips ?? []).join(", ")}</Fact>
      <Fact label={t("device.macs")}>{(f.macs ?? []).join(", ")}</Fact>
    </Facts>
  );
}

function Identity({ device }: { device: Device }) {
  const { t } = useTranslation();
  const f: Partial<DeviceFacts> = device.facts ?? {};
  return (
    <Facts>
      <Fact label={t("devices.lastSeen")}><Time at={device.last_seen_at} /></Fact>
      <Fact label={t("device.enrolled")}><Time at={device.enrolled_at} /></Fact>
      <Fact label={t("devices.agent")}>{device.agent_version}</Fact>
      <Fact label={t("device.privileged")}>{f.privileged === undefined ? undefined : f.privileged ? t("common.yes") : t("common.no")}</Fact>
      <Fact label={t("device.tasksAllowed")}>{(f.tasks_allowed ?? []).join(", ")}</Fact>
      <Fact label={t("device.deviceId")}><Copyable value={device.id} /></Fact>
      <Fact label={t("device.machineId")}>{f.machine_id && <Copyable value={f.machine_id} />}</Fact>
    </Facts>
  );
}
