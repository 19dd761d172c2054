import { Badge, Group, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { color, deploymentStates, deviceStates, eventColor, eventKinds, itemColor, itemStatuses, packageStates } from "../state";
import classes from "./badge.module.css";

function known<T extends string>(list: readonly T[], value: string): T | undefined {
  return list.find((v) => v === value);
}

export function DeploymentBadge({ state }: { state: string }) {
  const { t } = useTranslation();
  const s = known(deploymentStates, state);
  return <Badge variant="light" color={color(state)} tt="none">{s ? t(`state.${s}`) : state}</Badge>;
}

export function DeviceBadge({ state }: { state: string }) {
  const { t } = useTranslation();
  const s = known(deviceStates, state);
  return <Badge variant="light" color={color(state)} tt="none">{s ? t(`devices.state_${s}`) : state}</Badge>;
}

export function PackageBadge({ state }: { state: string }) {
  const { t } = useTranslation();
  const s = known(packageStates, state);
  return <Badge variant="light" color={state === "retired" ? "gray" : state === "draft" ? "yellow" : "teal"} tt="none">{s ? t(`packages.state_${s}`) : state}</Badge>;
}

export function ItemBadge({ status }: { status: string }) {
  const { t } = useTranslation();
  const s = known(itemStatuses, status);
  return <Badge variant="light" color={itemColor(status)} tt="none">{s ? t(`task.item_${s}`) : status}</Badge>;
}

export function EventBadge({ kind }: { kind: string }) {
  const { t } = useTranslation();
  const k = known(eventKinds, kind);
  return <Badge variant="light" color={eventColor(kind)} tt="none">{k ? t(`events.kind_${k}`) : kind}</Badge>;
}

/** Connected says it by shape and word, not by colour alone. */
export function Connected({ connected }: { connected: boolean }) {
  const { t } = useTranslation();
  return (
    <Group gap={6} wrap="nowrap" display="inline-flex">
      <span className={connected ? classes.on : classes.off} aria-hidden="true" />
      <Text span size="sm" c={connected ? undefined : "dimmed"}>{connected ? t("devices.connected") : t("devices.notConnected")}</Text>
    </Group>
  );
}
