import { Button, Group, MultiSelect, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import { EventTable } from "../component/event-table";
import { useFilters } from "../component/filter";
import { EventIcon, SearchIcon } from "../component/icon";
import { DeviceChoice } from "../component/lookup";
import { Empty, Page } from "../component/page";
import { Search } from "../component/search";
import { dayStart } from "../format";
import { eventKinds } from "../state";

const FILTERS = ["q", "kind", "device_id", "from", "to"] as const;

export default function Events() {
  const { t } = useTranslation();
  const filters = useFilters(FILTERS);
  const { q, kind, device_id, from, to } = filters.values;
  const page = usePaged("events", api.deviceEvents, { q, kind, device_id, since: dayStart(from), until: dayStart(to, 1) });
  return (
    <Page title={t("events.title")} subtitle={t("events.subtitle")}>
      <Group align="flex-end">
        <Search label={t("events.searchLabel")} placeholder={t("events.searchPlaceholder")} value={q} onChange={(v) => filters.set("q", v)} />
        <MultiSelect
          label={t("events.kind")}
          placeholder={kind ? undefined : t("common.any")}
          flex="1 1 150px"
          maw={420}
          clearable
          clearButtonProps={{ "aria-label": t("common.clearFilters") }}
          data={eventKinds.map((k) => ({ value: k, label: t(`events.kind_${k}`) }))}
          value={kind ? kind.split(",") : []}
          onChange={(v) => filters.set("kind", v.join(","))}
        />
        <DeviceChoice label={t("events.device")} value={device_id} onChange={(v) => filters.set("device_id", v)} />
        <Group align="flex-end" wrap="nowrap">
          <TextInput type="date" label={t("events.from")} value={from} onChange={(e) => filters.set("from", e.currentTarget.value)} w={150} />
          <TextInput type="date" label={t("events.to")} value={to} onChange={(e) => filters.set("to", e.currentTarget.value)} w={150} />
        </Group>
        {filters.active && <Button variant="subtle" onClick={filters.clear}>{t("common.clearFilters")}</Button>}
      </Group>
      <EventTable
        page={page}
        empty={
          filters.active ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} />
          ) : (
            <Empty icon={<EventIcon size={32} />} title={t("events.emptyTitle")} hint={t("events.emptyHint")} />
          )
        }
      />
    </Page>
  );
}
