import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { Device } from "../api/types";
import { TaskIcon } from "../component/icon";
import { Empty } from "../component/page";
import { TaskTable } from "../component/task-table";

/** DeviceTasks lists what a device was asked to do beside deployments. */
export function DeviceTasks({ device }: { device: Device }) {
  const { t } = useTranslation();
  const page = usePaged("tasks", api.tasks, { device_id: device.id }, 20);
  return <TaskTable page={page} without="device" empty={<Empty icon={<TaskIcon size={32} />} title={t("tasks.deviceEmptyTitle")} hint={t("tasks.deviceEmptyHint")} />} />;
}
