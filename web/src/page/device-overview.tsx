import { Anchor, Card, Group as Row, Progress, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Device, Footprint } from "../api/types";
import { Copyable } from "../component/copy";
import { Fact, Facts } from "../component/facts";
import { Time } from "../component/time";
import { UpdateBadge, UpdateText } from "../component/update-result";
import { bytes, span } from "../format";
import { disks, share, type DiskSpace } from "../overview";

type DeviceFacts = NonNullable<Device["facts"]>;

/** DeviceOverview is what one wants to know of a device at a glance. */
export function DeviceOverview({ device }: { device: Device }) {
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }}>
      <Stack>
        <Card withBorder><About device={device} /></Card>
        <Disks device={device} />
      </Stack>
      <Stack>
        <Card withBorder><Identity device={device} /></Card>
        {device.footprint && <Cost footprint={device.footprint} />}
      </Stack>
    </SimpleGrid>
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
      <Fact label={t("device.manufacturer")}>{f.manufacturer}</Fact>
      <Fact label={t("device.product")}>{f.product}</Fact>
      <Fact label={t("device.serial")}>{f.serial && <Copyable value={f.serial} />}</Fact>
      <Fact label={t("device.virtualisation")}>{f.virtualisation}</Fact>
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
      <LastUpdate device={device} />
      <Fact label={t("device.groups")}>{device.groups && device.groups.length > 0 && <Groups groups={device.groups} />}</Fact>
      <Fact label={t("device.privileged")}>{f.privileged === undefined ? undefined : f.privileged ? t("common.yes") : t("common.no")}</Fact>
      <Fact label={t("device.modules")}>{(f.modules ?? []).join(", ")}</Fact>
      <Fact label={t("device.tasksAllowed")}>{(f.tasks_allowed ?? []).join(", ")}</Fact>
      <Fact label={t("device.deviceId")}><Copyable value={device.id} /></Fact>
      <Fact label={t("device.machineId")}>{f.machine_id && <Copyable value={f.machine_id} />}</Fact>
      <Fact label={t("device.productId")}>{f.product_uuid && <Copyable value={f.product_uuid} />}</Fact>
    </Facts>
  );
}

function Groups({ groups }: { groups: NonNullable<Device["groups"]> }) {
  return <Row gap="xs">{groups.map((g) => <Anchor key={g.id} component={Link} to={`/groups/${g.id}`}>{g.name}</Anchor>)}</Row>;
}

/** LastUpdate is how the newest update of the agent ended, or how it stands. */
function LastUpdate({ device }: { device: Device }) {
  const { t } = useTranslation();
  const tasks = useQuery({
    queryKey: keys.list("tasks", "last-update", device.id),
    queryFn: ({ signal }) => api.tasks({ device_id: device.id, kind: "update", limit: 1 }, signal),
  });
  const task = tasks.data?.items[0];
  return <Fact label={t("update.last")}>{task && <Row gap="xs"><Anchor component={Link} to={`/tasks/${task.id}`}><UpdateText task={task} /></Anchor><UpdateBadge task={task} /></Row>}</Fact>;
}

/** Disks shows how full the disks are; a device without an inventory has none to show. */
function Disks({ device }: { device: Device }) {
  const { t } = useTranslation();
  const inventory = useQuery({ queryKey: keys.one("inventory", device.id), queryFn: () => api.inventory(device.id) });
  const rows = useQuery({
    queryKey: keys.list("inventory", device.id, "filesystems", "overview"),
    queryFn: ({ signal }) => api.section(device.id, "filesystems", { limit: 200 }, signal),
    enabled: !!inventory.data?.sections.some((s) => s.name === "filesystems"),
  });
  const list = disks(rows.data?.items ?? []);
  if (list.length === 0) return null;
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">{t("device.disks")}</Title>
      <Stack gap="sm">{list.map((d) => <DiskBar key={d.mount} disk={d} />)}</Stack>
    </Card>
  );
}

function DiskBar({ disk }: { disk: DiskSpace }) {
  const { t, i18n } = useTranslation();
  const free = t("device.diskFree", { free: bytes(disk.free, i18n.language), total: bytes(disk.bytes, i18n.language) });
  return (
    <Stack gap={4}>
      <Row justify="space-between" gap="xs">
        <Text size="sm" className="breakable">{disk.mount}</Text>
        <Text size="sm" c="dimmed">{free}</Text>
      </Row>
      <Progress value={disk.usedPercent} color={disk.low ? "red" : undefined} aria-label={t("device.diskUsed", { mount: disk.mount })} />
    </Stack>
  );
}

/** Cost is what the agent says it has taken of the computer. */
function Cost({ footprint: f }: { footprint: Footprint }) {
  const { t, i18n } = useTranslation();
  const size = (n: number) => bytes(n, i18n.language);
  const part = share(f, i18n.language);
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">{t("device.footprint")}</Title>
      <Facts>
        <Fact label={t("device.footprintSince")}><Time at={f.since} /></Fact>
        <Fact label={t("device.footprintCpu")}>{part ? t("device.footprintCpuValue", { time: span(f.cpu_ms), share: part }) : span(f.cpu_ms)}</Fact>
        <Fact label={t("device.footprintMemory")}>{t("device.footprintMemoryValue", { now: size(f.rss_bytes), high: size(f.rss_high_bytes) })}</Fact>
        <Fact label={t("device.footprintTask")}>{f.task_high_bytes > 0 && t("device.footprintTaskValue", { high: size(f.task_high_bytes) })}</Fact>
        <Fact label={t("device.footprintTraffic")}>{t("device.footprintTrafficValue", { sent: size(f.sent_bytes), received: size(f.received_bytes) })}</Fact>
        <Fact label={t("device.footprintTold")}><Time at={f.reported_at} /></Fact>
      </Facts>
    </Card>
  );
}
