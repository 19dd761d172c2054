import { Button, Checkbox, Group } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { keys, usePaged } from "../api/query";
import { Choice } from "../component/choice";
import { DeploymentTable } from "../component/deployment-table";
import { DeviceChoice } from "../component/lookup";
import { useFilters } from "../component/filter";
import { DeploymentIcon, SearchIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { deploymentStates } from "../state";

// An expired attempt leaves its deployment waiting to be signed again.
const STATES = deploymentStates.filter((s) => s !== "expired");
const FILTERS = ["state", "open", "package_id", "device_id", "assignment_id"] as const;

export default function Deployments() {
  const { t } = useTranslation();
  const filters = useFilters(FILTERS);
  const page = usePaged("deployments", api.deployments, filters.values);
  const packages = useQuery({ queryKey: keys.list("packages", "choice"), queryFn: ({ signal }) => api.packages({ limit: 200 }, signal) });
  return (
    <Page title={t("deployments.title")} subtitle={t("deployments.subtitle")}>
      <Group align="flex-end">
        <Choice label={t("common.state")} value={filters.values.state} onChange={(v) => filters.set("state", v)} data={STATES.map((s) => ({ value: s, label: t(`state.${s}`) }))} />
        <Choice label={t("deployments.package")} value={filters.values.package_id} onChange={(v) => filters.set("package_id", v)} data={(packages.data?.items ?? []).map((p) => ({ value: p.id, label: `${p.name} ${p.version}` }))} />
        <DeviceChoice label={t("deployments.device")} value={filters.values.device_id} onChange={(v) => filters.set("device_id", v)} />
        <Checkbox label={t("deployments.openOnly")} checked={filters.values.open === "true"} onChange={(e) => filters.set("open", e.currentTarget.checked ? "true" : "")} pb={8} />
        {filters.active && <Button variant="subtle" onClick={filters.clear}>{t("common.clearFilters")}</Button>}
      </Group>
      <DeploymentTable
        page={page}
        empty={
          filters.active ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} />
          ) : (
            <Empty icon={<DeploymentIcon size={32} />} title={t("deployments.emptyTitle")} hint={t("deployments.emptyHint")} action={<Button component={Link} to="/packages">{t("device.toPackages")}</Button>} />
          )
        }
      />
    </Page>
  );
}
