import { Anchor } from "@mantine/core";
import { useMemo, type ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import type { Paged } from "../api/query";
import type { DeviceEvent } from "../api/types";
import { EventBadge } from "./badge";
import { DataTable, type Column } from "./table";
import { Time } from "./time";

/** EventTable lists what happened to devices; on a device's own page its column is left out. */
export function EventTable({ page, without, empty }: { page: Paged<DeviceEvent>; without?: "device"; empty: ReactNode }) {
  const { t } = useTranslation();
  const columns = useMemo<Column<DeviceEvent>[]>(() => {
    const device: Column<DeviceEvent> = {
      id: "device",
      header: t("events.device"),
      cell: (e) => <Anchor component={Link} to={`/devices/${e.device_id}`}>{e.hostname || e.device_id}</Anchor>,
    };
    return [
      { id: "kind", header: t("events.what"), cell: (e) => <EventBadge kind={e.kind} /> },
      { id: "message", header: t("events.details"), cell: (e) => e.message },
      ...(without ? [] : [device]),
      { id: "time", header: t("events.time"), cell: (e) => <Time at={e.time} /> },
    ];
  }, [t, without]);
  return <DataTable label={t("events.title")} page={page} columns={columns} empty={empty} />;
}
