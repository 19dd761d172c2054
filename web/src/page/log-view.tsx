import { Button, Group, Stack, Switch, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import { Choice } from "../component/choice";
import { useFilters } from "../component/filter";
import { LinesIcon, SearchIcon } from "../component/icon";
import { LogLines } from "../component/log-lines";
import { DeviceChoice } from "../component/lookup";
import { Empty } from "../component/page";
import { ProblemAlert } from "../component/problem";
import { Search } from "../component/search";
import { Loading, Pager } from "../component/table";
import { absolute, localTime } from "../format";
import { logLevels, logTasks } from "../log";

const FILTERS = ["device_id", "q", "task", "level", "from", "to", "live"] as const;
const LINES = 200;

/** So long a device is asked to send its lines at once; asked again at half of it while somebody looks. */
const FOLLOW_S = 120;
/** Lines of all devices are looked for this often: devices send them in batches. */
const EVERY_MS = 5_000;

/** LogView shows and follows log lines, of one device where it stands on that device's page. */
export function LogView({ deviceId }: { deviceId?: string }) {
  const { t, i18n } = useTranslation();
  const filters = useFilters(FILTERS);
  const { q, task, level, from, to } = filters.values;
  const device = deviceId ?? filters.values.device_id;
  const live = filters.values.live === "true";
  const page = usePaged(
    ["logs", device, live ? "live" : "still"],
    api.logs,
    { device_id: device, q, task, level, from: localTime(from), to: live ? undefined : localTime(to) },
    LINES,
    { everyMs: live && !device ? EVERY_MS : undefined, forget: true },
  );
  const follow = useFollow(device, live);
  const active = [deviceId ? "" : device, q, task, level, from, to].some((v) => v !== "");
  return (
    <Stack>
      <Group align="flex-end">
        <Search label={t("log.searchLabel")} placeholder={t("log.searchPlaceholder")} value={q} onChange={(v) => filters.set("q", v)} />
        {!deviceId && <DeviceChoice label={t("log.device")} value={device} onChange={(v) => filters.set("device_id", v)} />}
        <Choice label={t("log.task")} width={150} value={task} onChange={(v) => filters.set("task", v)} data={logTasks.map((k) => ({ value: k, label: k }))} />
        <Choice label={t("log.levelFrom")} width={150} value={level} onChange={(v) => filters.set("level", v)} data={logLevels.map((l) => ({ value: l, label: t(`log.level_${l}`) }))} />
        <Group align="flex-end" gap="sm">
          <TextInput type="datetime-local" label={t("log.from")} value={from} onChange={(e) => filters.set("from", e.currentTarget.value)} w={200} />
          <TextInput type="datetime-local" label={t("log.to")} value={to} disabled={live} onChange={(e) => filters.set("to", e.currentTarget.value)} w={200} />
        </Group>
        {active && <Button variant="subtle" onClick={filters.clear}>{t("common.clearFilters")}</Button>}
      </Group>
      <Group justify="space-between" gap="xs">
        <Switch label={t("log.live")} checked={live} onChange={(e) => filters.set("live", e.currentTarget.checked ? "true" : "")} />
        <Text size="sm" c="dimmed" role="status">{live ? t(device ? "log.liveOne" : "log.liveAll", { count: LINES }) : t("log.newestFirst")}</Text>
      </Group>
      <ProblemAlert error={follow.error} title={t("log.followProblem")} onRetry={() => void follow.refetch()} />
      <ProblemAlert error={page.error} onRetry={page.refetch} />
      {page.isPending ? (
        <Loading columns={1} />
      ) : page.items.length > 0 ? (
        <LogLines label={t("log.title")} lines={page.items} without={deviceId ? "device" : undefined} />
      ) : page.searchedUntil ? null : (
        !page.error && page.number === 1 && (active ? (
          <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} />
        ) : (
          <Empty icon={<LinesIcon size={32} />} title={t("log.emptyTitle")} hint={deviceId ? t("log.emptyHintDevice") : t("log.emptyHint")} />
        ))
      )}
      {page.searchedUntil && (
        <Group gap="sm">
          <Text size="sm" role="status">{t("log.searchedUntil", { time: absolute(page.searchedUntil, i18n.language) })}</Text>
          {!live && page.next && <Button size="xs" variant="default" onClick={page.next}>{t("log.searchOn")}</Button>}
        </Group>
      )}
      {!live && (page.items.length > 0 || page.number > 1) && <Pager page={page} />}
    </Stack>
  );
}

/** useFollow asks a device to send its lines as they come, as long as this is shown in a tab that one sees. */
function useFollow(device: string, on: boolean) {
  return useQuery({
    queryKey: ["log-follow", device],
    queryFn: async () => {
      await api.followLog(device, FOLLOW_S);
      return true;
    },
    enabled: on && device !== "",
    refetchInterval: (FOLLOW_S * 1000) / 2,
    gcTime: 0,
    staleTime: 0,
  });
}
