import { Alert, Anchor, Button, Group, Text, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { Device } from "../api/types";
import { Connected, DeviceBadge } from "../component/badge";
import { Choice } from "../component/choice";
import { useFilters, useSearchText } from "../component/filter";
import { GroupChoice } from "../component/group-choice";
import { DeviceIcon, PlusIcon, SearchIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { deviceStates, isGone } from "../state";
import { AddDevice } from "./add-device";
import { AddToGroupDialog } from "./add-to-group";
import { UpdateDialog } from "./update-agents";

export default function Devices() {
  const { t } = useTranslation();
  const [adding, add] = useDisclosure();
  const [updating, update] = useDisclosure();
  const [grouping, group] = useDisclosure();
  const [chosen, setChosen] = useState<ReadonlyMap<string, string>>(new Map());
  const filters = useFilters(["q", "state", "connected", "group", "trust_below"] as const);
  const [text, setText] = useSearchText(filters.values.q, (v) => filters.set("q", v));
  const page = usePaged("devices", api.devices, filters.values);
  const columns = useMemo<Column<Device>[]>(
    () => [
      { id: "hostname", header: t("devices.hostname"), cell: (d) => <Anchor component={Link} to={`/devices/${d.id}`} fw={600}>{d.hostname || d.id}</Anchor> },
      { id: "state", header: t("common.state"), cell: (d) => <DeviceBadge state={d.state} /> },
      { id: "connected", header: t("devices.connection"), cell: (d) => <Connected connected={d.connected} /> },
      { id: "system", header: t("devices.system"), cell: (d) => `${d.os_name || d.os} ${d.os_version}`.trim() },
      { id: "agent", header: t("devices.agent"), cell: (d) => d.agent_version },
      { id: "seen", header: t("devices.lastSeen"), cell: (d) => <Time at={d.last_seen_at} /> },
      { id: "open", header: t("devices.open"), cell: (d) => <Open device={d} /> },
    ],
    [t],
  );
  const rows = new Map(page.items.map((d) => [d.id, d]));
  const name = (id: string) => rows.get(id)?.hostname || id;
  const toggle = (id: string, on: boolean) => {
    const next = new Map(chosen);
    if (on) next.set(id, name(id));
    else next.delete(id);
    setChosen(next);
  };
  const addButton = <Button leftSection={<PlusIcon size={16} />} onClick={add.open}>{t("devices.add")}</Button>;
  return (
    <Page title={t("devices.title")} subtitle={t("devices.subtitle")} actions={addButton}>
      <Group align="flex-end">
        <TextInput label={t("devices.searchLabel")} placeholder={t("devices.searchPlaceholder")} leftSection={<SearchIcon size={16} />} value={text} onChange={(e) => setText(e.currentTarget.value)} flex="1 1 220px" maw={360} type="search" />
        <Choice label={t("common.state")} value={filters.values.state} onChange={(v) => filters.set("state", v)} data={deviceStates.map((s) => ({ value: s, label: t(`devices.state_${s}`) }))} />
        <Choice
          label={t("devices.connection")}
          value={filters.values.connected}
          onChange={(v) => filters.set("connected", v)}
          data={[
            { value: "true", label: t("devices.connected") },
            { value: "false", label: t("devices.notConnected") },
          ]}
        />
        <GroupChoice label={t("devices.group")} value={filters.values.group} onChange={(v) => filters.set("group", v)} />
      </Group>
      {chosen.size > 0 && (
        <Group gap="sm">
          <Text size="sm" c="dimmed" aria-live="polite">{t("picker.selected", { count: chosen.size })}</Text>
          <Button variant="subtle" onClick={() => setChosen(new Map())}>{t("software.unchoose")}</Button>
          <Button variant="default" onClick={group.open}>{t("devices.addToGroup")}</Button>
          <Button variant="default" onClick={update.open}>{t("update.open")}</Button>
        </Group>
      )}
      {filters.values.trust_below && (
        <Alert color="blue" withCloseButton closeButtonLabel={t("common.clearFilters")} onClose={() => filters.set("trust_below", "")}>
          <Text size="sm">{t("devices.trustBelow", { version: filters.values.trust_below })}</Text>
        </Alert>
      )}
      <DataTable
        label={t("devices.title")}
        page={page}
        columns={columns}
        selection={{
          has: (id) => chosen.has(id),
          toggle,
          locked: (id) => isGone(rows.get(id)?.state ?? ""),
          label: (id) => t("picker.select", { hostname: name(id) }),
        }}
        empty={
          filters.active ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} action={<Button variant="default" onClick={filters.clear}>{t("common.clearFilters")}</Button>} />
          ) : (
            <Empty icon={<DeviceIcon size={32} />} title={t("devices.emptyTitle")} hint={t("devices.emptyHint")} action={addButton} />
          )
        }
      />
      <AddDevice opened={adding} onClose={add.close} />
      <UpdateDialog devices={chosen} opened={updating} onClose={update.close} />
      <AddToGroupDialog devices={chosen} opened={grouping} onClose={group.close} />
    </Page>
  );
}

/** Open is what the device still has to do. */
function Open({ device: d }: { device: Device }) {
  const { t } = useTranslation();
  if (d.open_deployments + d.open_tasks === 0) return <>–</>;
  return (
    <Group gap={8}>
      {d.open_deployments > 0 && <Anchor component={Link} to={`/deployments?device_id=${d.id}&open=true`}>{t("devices.openDeployments", { count: d.open_deployments })}</Anchor>}
      {d.open_tasks > 0 && <Anchor component={Link} to={`/devices/${d.id}/tasks`}>{t("devices.openTasks", { count: d.open_tasks })}</Anchor>}
    </Group>
  );
}
