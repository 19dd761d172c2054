import { Alert, Button, Checkbox, Group } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import { Choice } from "../component/choice";
import { useFilters } from "../component/filter";
import { SearchIcon, TaskIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { TaskTable } from "../component/task-table";
import { taskKinds, taskStates } from "../state";

const FILTERS = ["kind", "state", "open", "batch_id", "device_id", "release_id"] as const;

export default function Tasks() {
  const { t } = useTranslation();
  const filters = useFilters(FILTERS);
  const { kind, state, open, batch_id } = filters.values;
  const page = usePaged("tasks", api.tasks, filters.values);
  return (
    <Page title={t("tasks.title")} subtitle={t("tasks.subtitle")}>
      <Group align="flex-end">
        <Choice label={t("tasks.kind")} value={kind} onChange={(v) => filters.set("kind", v)} data={taskKinds.map((k) => ({ value: k, label: t(`task.kind_${k}`) }))} />
        <Choice label={t("common.state")} value={state} onChange={(v) => filters.set("state", v)} data={taskStates.map((s) => ({ value: s, label: t(`state.${s}`) }))} />
        <Checkbox label={t("deployments.openOnly")} checked={open === "true"} onChange={(e) => filters.set("open", e.currentTarget.checked ? "true" : "")} pb={8} />
        {filters.active && <Button variant="subtle" onClick={filters.clear}>{t("common.clearFilters")}</Button>}
      </Group>
      {batch_id && <Alert color="blue" withCloseButton closeButtonLabel={t("common.clearFilters")} onClose={() => filters.set("batch_id", "")}>{t("tasks.together")}</Alert>}
      <TaskTable
        page={page}
        empty={
          filters.active ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} />
          ) : (
            <Empty icon={<TaskIcon size={32} />} title={t("tasks.emptyTitle")} hint={t("tasks.emptyHint")} />
          )
        }
      />
    </Page>
  );
}
