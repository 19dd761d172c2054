import { Button, Card, Group, Modal, NativeSelect, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Device, DeviceLogSetting } from "../api/types";
import { notifyDone, ProblemAlert } from "../component/problem";
import { Time } from "../component/time";
import { levelAt, levelChoices, type ForwardLevel, type LevelChoice } from "../log";
import { isGone } from "../state";
import { LogView } from "./log-view";

/** For how many seconds a level may hold; 0 is until it is changed. */
const SPANS = { quarter: 900, hour: 3600, hours: 28_800, day: 86_400, ever: 0 } as const;
type Span = keyof typeof SPANS;

/** DeviceLog shows the lines that a device has sent, and from which level on it does. */
export function DeviceLog({ device }: { device: Device }) {
  return (
    <Stack>
      <Forwarding device={device} />
      <LogView deviceId={device.id} />
    </Stack>
  );
}

function Forwarding({ device }: { device: Device }) {
  const { t } = useTranslation();
  const word = (l: ForwardLevel) => t(`log.level_${l}`);
  const [changing, change] = useDisclosure();
  const setting = useQuery({ queryKey: keys.one("device-log", device.id), queryFn: () => api.deviceLog(device.id) });
  const now = useEnd(setting.data?.until);
  if (!setting.data) return <ProblemAlert error={setting.error} onRetry={() => void setting.refetch()} />;
  const { level, until, after } = levelAt(setting.data, now);
  return (
    <Card withBorder padding="sm">
      <Group justify="space-between" gap="sm">
        <Stack gap={2} flex="1 1 240px">
          <Text size="sm" fw={600}>{level === "off" ? t("log.forwardsNone") : t("log.forwards", { level: word(level) })}</Text>
          {setting.data.from_groups && level !== "off" && <Text size="sm" c="dimmed">{t("log.fromGroups")}</Text>}
          {until && <Text size="sm" c="dimmed" component="div">{t("log.then", { level: word(after ?? "off") })} <Time at={until} /></Text>}
          {!setting.data.allowed && <Text size="sm" c="dimmed">{t("log.denied")}</Text>}
          <Dropped setting={setting.data} />
        </Stack>
        {!isGone(device.state) && <Button variant="default" size="xs" onClick={change.open}>{t("log.change")}</Button>}
      </Group>
      <Modal opened={changing} onClose={change.close} title={t("log.changeTitle", { hostname: device.hostname || device.id })} closeButtonProps={{ "aria-label": t("common.close") }}>
        <LevelForm device={device} level={setting.data.from_groups ? "groups" : level} onClose={change.close} />
      </Modal>
    </Card>
  );
}

/** Dropped says how many lines are missing, and who left them out. */
function Dropped({ setting: s }: { setting: DeviceLogSetting }) {
  const { t } = useTranslation();
  return (
    <>
      {s.dropped_by_device > 0 && <Text size="sm" c="dimmed">{t("log.droppedByDevice", { count: s.dropped_by_device })}</Text>}
      {s.dropped_by_server > 0 && <Text size="sm" c="dimmed">{t("log.droppedByServer", { count: s.dropped_by_server })}</Text>}
    </>
  );
}

/** useEnd is now, once more when the time has come. */
function useEnd(until: string | null | undefined): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const wait = until ? Date.parse(until) - Date.now() : NaN;
    if (!(wait > 0) || wait > 0x7fffffff) return;
    const timer = setTimeout(() => setNow(Date.now()), wait + 50);
    return () => clearTimeout(timer);
  }, [until]);
  return now;
}

function LevelForm({ device, level, onClose }: { device: Device; level: LevelChoice; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [next, setNext] = useState<LevelChoice>(level === "off" || level === "groups" ? "debug" : level);
  const [span, setSpan] = useState<Span>("hour");
  // Empty: what was set for good before.
  const [after, setAfter] = useState<LevelChoice | "">("");
  const set = useMutation({
    mutationFn: () => api.setLog(device.id, { level: next, ...(SPANS[span] > 0 ? { for_seconds: SPANS[span], ...(after && { after }) } : {}) }),
    onSuccess: () => {
      notifyDone(device.connected ? t("log.changed") : t("log.changedLater", { hostname: device.hostname || device.id }));
      onClose();
    },
    onSettled: () => void client.invalidateQueries({ queryKey: ["device-log"] }),
  });
  const levels = levelChoices.map((l) => ({ value: l as string, label: t(`log.level_${l}`) }));
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        set.mutate();
      }}
    >
      <Stack>
        <ProblemAlert error={set.error} />
        <Text size="sm">{t("log.changeText")}</Text>
        <NativeSelect label={t("log.level")} data={levels} value={next} onChange={(e) => setNext(e.currentTarget.value as LevelChoice)} data-autofocus />
        <NativeSelect label={t("log.for")} data={(Object.keys(SPANS) as Span[]).map((s) => ({ value: s, label: t(`log.for_${s}`) }))} value={span} onChange={(e) => setSpan(e.currentTarget.value as Span)} />
        {SPANS[span] > 0 && <NativeSelect label={t("log.after")} data={[{ value: "", label: t("log.asBefore") }, ...levels]} value={after} onChange={(e) => setAfter(e.currentTarget.value as LevelChoice | "")} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" loading={set.isPending}>{t("common.save")}</Button>
        </Group>
      </Stack>
    </form>
  );
}
