import { Anchor, Group, Text } from "@mantine/core";
import { useMemo, type ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import type { Paged } from "../api/query";
import type { Deployment } from "../api/types";
import { DeploymentBadge } from "./badge";
import { DataTable, type Column } from "./table";
import { Time } from "./time";

/** DeploymentTable lists deployments; beside a device or a package its own column is left out. */
export function DeploymentTable({ page, without, empty }: { page: Paged<Deployment>; without?: "device" | "package"; empty: ReactNode }) {
  const { t } = useTranslation();
  const columns = useMemo<Column<Deployment>[]>(() => {
    const to = (d: Deployment) => `/deployments/${d.id}`;
    const name = (d: Deployment) => `${d.package_name} ${d.package_version}`;
    const device: Column<Deployment> = {
      id: "device",
      header: t("deployments.device"),
      cell: (d) => <Anchor component={Link} to={without ? to(d) : `/devices/${d.device_id}`} fw={without ? 600 : undefined}>{d.hostname || d.device_id}</Anchor>,
    };
    const pack: Column<Deployment> = {
      id: "package",
      header: t("deployments.package"),
      cell: (d) => <Anchor component={Link} to={to(d)} fw={600}>{name(d)}</Anchor>,
    };
    const rest: Column<Deployment>[] = [
      {
        id: "state",
        header: t("deployments.result"),
        cell: (d) => (
          <Group gap={8}>
            <DeploymentBadge state={d.state} />
            {d.detail && <Text span size="sm" c="dimmed">{d.detail}</Text>}
          </Group>
        ),
      },
      { id: "attempt", header: t("deployments.attempt"), cell: (d) => d.attempt },
      { id: "updated", header: t("deployments.updated"), cell: (d) => <Time at={d.updated_at} /> },
    ];
    const lead = without === "device" ? [pack] : without === "package" ? [device] : [pack, device];
    return [...lead, ...rest];
  }, [t, without]);
  return <DataTable label={t("deployments.title")} page={page} columns={columns} empty={empty} />;
}
