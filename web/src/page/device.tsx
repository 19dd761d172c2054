import { Alert, Button, Menu, Stack, Tabs } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link, useNavigate, useParams } from "react-router";
import { api } from "../api/client";
import { keys, usePaged } from "../api/query";
import type { Device } from "../api/types";
import { useAct } from "../component/act";
import { Connected, DeviceBadge } from "../component/badge";
import { confirm } from "../component/confirm";
import { DeploymentTable } from "../component/deployment-table";
import { EventTable } from "../component/event-table";
import { DeploymentIcon, EventIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Empty, Page } from "../component/page";
import { isGone } from "../state";
import { AddToGroupDialog } from "./add-to-group";
import { DeviceInventory } from "./device-inventory";
import { DeviceLog } from "./device-log";
import { DeviceModules } from "./device-modules";
import { DeviceOverview } from "./device-overview";
import { DeviceSoftware } from "./device-software";
import { DeviceTasks } from "./device-tasks";
import { RemoveAgentDialog } from "./remove-agent";
import { UpdateDialog } from "./update-agents";

const TABS = ["overview", "inventory", "software", "modules", "deployments", "tasks", "events", "log"] as const;

export default function DevicePage() {
  const { t } = useTranslation();
  const id = useParams().id ?? "";
  const device = useQuery({ queryKey: keys.one("devices", id), queryFn: () => api.device(id) });
  return <Loaded query={device} parent={{ to: "/devices", label: t("devices.title") }}>{(d) => <Detail key={d.id} device={d} />}</Loaded>;
}

function Detail({ device }: { device: Device }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const asked = useParams().tab;
  const tab = TABS.find((name) => name === asked) ?? "overview";
  return (
    <Page
      title={device.hostname || device.id}
      badge={<><DeviceBadge state={device.state} />{!isGone(device.state) && <Connected connected={device.connected} />}</>}
      parent={{ to: "/devices", label: t("devices.title") }}
      actions={!isGone(device.state) && <Actions device={device} />}
    >
      <Notice device={device} />
      <Tabs value={tab} onChange={(v) => void navigate(v === "overview" ? `/devices/${device.id}` : `/devices/${device.id}/${v}`)} keepMounted={false}>
        <Tabs.List mb="lg" aria-label={t("device.parts")}>
          {TABS.map((name) => (
            <Tabs.Tab key={name} value={name}>{t(`device.tab_${name}`)}</Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="overview"><DeviceOverview device={device} /></Tabs.Panel>
        <Tabs.Panel value="inventory"><DeviceInventory device={device} /></Tabs.Panel>
        <Tabs.Panel value="software"><DeviceSoftware device={device} /></Tabs.Panel>
        <Tabs.Panel value="modules"><DeviceModules device={device} /></Tabs.Panel>
        <Tabs.Panel value="deployments"><Deployments device={device} /></Tabs.Panel>
        <Tabs.Panel value="tasks"><DeviceTasks device={device} /></Tabs.Panel>
        <Tabs.Panel value="events"><Events device={device} /></Tabs.Panel>
        <Tabs.Panel value="log"><DeviceLog device={device} /></Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Actions({ device }: { device: Device }) {
  const { t } = useTranslation();
  const hostname = device.hostname || device.id;
  const [removing, remove] = useDisclosure();
  const [updating, update] = useDisclosure();
  const [grouping, group] = useDisclosure();
  const one = new Map([[device.id, hostname]]);
  const wake = useAct(() => api.wakeDevice(device.id), ["devices"], (r) => (r?.connected ? t("device.woken", { hostname }) : t("device.notWoken", { hostname })));
  const inventory = useAct(() => api.requestInventory(device.id), ["devices", "tasks"], () => (device.connected ? t("device.inventoryAsked", { hostname }) : t("device.inventoryLater", { hostname })));
  const revoke = useAct(() => api.revokeDevice(device.id), ["devices", "tasks"], () => t("device.revoked", { hostname }));
  const askRevoke = () =>
    confirm({ title: t("device.revokeTitle", { hostname }), text: t("device.revokeText"), action: t("device.revoke"), onConfirm: () => revoke.mutate() });
  return (
    <>
      <Button variant="default" onClick={() => inventory.mutate()} loading={inventory.isPending}>{t("device.inventoryNow")}</Button>
      {device.state !== "pending" && <Button variant="default" onClick={() => wake.mutate()} loading={wake.isPending}>{t("device.wakeup")}</Button>}
      <Menu position="bottom-end">
        <Menu.Target>
          <Button variant="default" loading={revoke.isPending}>{t("device.more")}</Button>
        </Menu.Target>
        <Menu.Dropdown>
          {device.state === "active" && <Menu.Item onClick={update.open}>{t("update.openOne")}</Menu.Item>}
          <Menu.Item onClick={group.open}>{t("devices.addToGroup")}</Menu.Item>
          <Menu.Item c="var(--mantine-color-error)" onClick={remove.open}>{t("device.remove")}</Menu.Item>
          <Menu.Item c="var(--mantine-color-error)" onClick={askRevoke}>{t("device.revoke")}</Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <UpdateDialog devices={one} opened={updating} onClose={update.close} />
      <AddToGroupDialog devices={one} opened={grouping} onClose={group.close} />
      <RemoveAgentDialog device={device} opened={removing} onClose={remove.close} />
    </>
  );
}

/** Notice says what is special about a device that is not simply active. */
function Notice({ device }: { device: Device }) {
  const { t } = useTranslation();
  const approve = useAct(() => api.approveDevice(device.id), ["devices"], () => t("device.approved", { hostname: device.hostname || device.id }));
  if (device.state === "removed") return <Alert color="gray" title={t("device.removedTitle")}>{t("device.removedText")}</Alert>;
  if (device.state !== "pending" && device.state !== "quarantined") return null;
  return (
    <Alert color="yellow" title={t(`device.${device.state}Title`)}>
      <Stack align="flex-start" gap="sm">
        {t(`device.${device.state}Text`)} {device.quarantine_reason}
        <Button onClick={() => approve.mutate()} loading={approve.isPending}>{t("device.approve")}</Button>
      </Stack>
    </Alert>
  );
}

function Deployments({ device }: { device: Device }) {
  const { t } = useTranslation();
  const page = usePaged("deployments", api.deployments, { device_id: device.id }, 20);
  return (
    <DeploymentTable
      page={page}
      without="device"
      empty={<Empty icon={<DeploymentIcon size={32} />} title={t("device.noDeployments")} hint={t("device.noDeploymentsHint")} action={<Button variant="default" component={Link} to="/packages">{t("device.toPackages")}</Button>} />}
    />
  );
}

function Events({ device }: { device: Device }) {
  const { t } = useTranslation();
  const page = usePaged("events", api.deviceEvents, { device_id: device.id }, 50);
  return <EventTable page={page} without="device" empty={<Empty icon={<EventIcon size={32} />} title={t("events.emptyTitle")} hint={t("events.emptyHint")} />} />;
}
