import { Anchor, Group, Text } from "@mantine/core";
import { useMemo, type ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import type { Paged } from "../api/query";
import type { Task } from "../api/types";
import { program } from "../software";
import { DeploymentBadge } from "./badge";
import { DataTable, type Column } from "./table";
import { Time } from "./time";
import { UpdateText } from "./update-result";

/** So many programs are named in a list; of more it is said how many. */
const NAMED = 3;

/** TaskTable lists tasks that are not deployments; on a device's own page its column is left out. */
export function TaskTable({ page, without, empty }: { page: Paged<Task>; without?: "device"; empty: ReactNode }) {
  const { t } = useTranslation();
  const columns = useMemo<Column<Task>[]>(() => {
    const device: Column<Task> = {
      id: "device",
      header: t("tasks.device"),
      cell: (task) => <Anchor component={Link} to={`/devices/${task.device_id}`}>{task.hostname || task.device_id}</Anchor>,
    };
    return [
      {
        id: "task",
        header: t("tasks.task"),
        cell: (task) => (
          <>
            <Anchor component={Link} to={`/tasks/${task.id}`} fw={600}>{t(`task.kind_${task.kind}`)}</Anchor> <What task={task} />
          </>
        ),
      },
      ...(without ? [] : [device]),
      {
        id: "state",
        header: t("tasks.state"),
        cell: (task) => (
          <Group gap={8}>
            <DeploymentBadge state={task.state} />
            <Text span size="sm" c="dimmed">{task.summary}</Text>
          </Group>
        ),
      },
      { id: "by", header: t("tasks.by"), cell: (task) => task.created_by },
      { id: "created", header: t("common.created"), cell: (task) => <Time at={task.created_at} /> },
    ];
  }, [t, without]);
  return <DataTable label={t("tasks.title")} page={page} columns={columns} empty={empty} />;
}

function What({ task }: { task: Task }) {
  const { t } = useTranslation();
  if (task.update) return <Text span size="sm" fw={400}><UpdateText task={task} /></Text>;
  if (task.module) return <Text span size="sm" fw={400}>{task.module}</Text>;
  const names = task.kind === "uninstall" ? (task.software ?? []).map((key) => program(key).name) : (task.sections ?? []);
  if (names.length === 0) return null;
  const shown = names.slice(0, NAMED).join(", ");
  return <Text span size="sm" fw={400}>{names.length > NAMED ? t("tasks.andMore", { names: shown, count: names.length - NAMED }) : shown}</Text>;
}
