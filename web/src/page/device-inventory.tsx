import { Accordion, Anchor, Badge, Group, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Device, Inventory, SectionInfo } from "../api/types";
import { useFilters } from "../component/filter";
import { LogIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Empty } from "../component/page";
import { SectionRows, SectionState, useSectionNames } from "../component/section-rows";
import { Time } from "../component/time";
import { inOrder, moduleOf, single } from "../section";

/** DeviceInventory lists what the device's inventories have found, section by section; modules have a page of their own. */
export function DeviceInventory({ device }: { device: Device }) {
  const inventory = useQuery({ queryKey: keys.one("inventory", device.id), queryFn: () => api.inventory(device.id) });
  return <Loaded query={inventory}>{(i) => <Sections device={device} inventory={i} />}</Loaded>;
}

function Sections({ device, inventory }: { device: Device; inventory: Inventory }) {
  const { t } = useTranslation();
  const filters = useFilters(["section"] as const);
  const own = inventory.sections.filter((s) => moduleOf(s.name) === undefined);
  if (own.length === 0) {
    return <Empty icon={<LogIcon size={32} />} title={t("inventory.emptyTitle")} hint={t("inventory.emptyHint")} />;
  }
  return (
    <Stack>
      {inventory.collected_at && <Text size="sm" c="dimmed" component="div">{t("inventory.collected")} <Time at={inventory.collected_at} /></Text>}
      <Accordion variant="separated" order={2} keepMounted={false} value={filters.values.section || null} onChange={(v) => filters.set("section", v ?? "")}>
        {inOrder(own).map((s) => (
          <Accordion.Item key={s.name} value={s.name}>
            <Accordion.Control><Heading section={s} /></Accordion.Control>
            <Accordion.Panel><Section device={device} section={s} /></Accordion.Panel>
          </Accordion.Item>
        ))}
      </Accordion>
    </Stack>
  );
}

function Heading({ section }: { section: SectionInfo }) {
  const { t } = useTranslation();
  const names = useSectionNames();
  return (
    <Group gap="sm" component="span">
      <Text span fw={600}>{names.section(section.name)}</Text>
      {(!single.has(section.name) || section.rows !== 1) && <Text span size="sm" c="dimmed">{t("inventory.rows", { count: section.rows })}</Text>}
      {section.problem && <Badge component="span" variant="light" color="orange" tt="none">{t("inventory.problem")}</Badge>}
    </Group>
  );
}

function Section({ device, section }: { device: Device; section: SectionInfo }) {
  const { t } = useTranslation();
  return (
    <Stack gap="sm">
      <SectionState section={section} />
      {section.name === "software" && <Anchor component={Link} to={`/devices/${device.id}/software`} size="sm">{t("inventory.toSoftware")}</Anchor>}
      {section.name !== "software" && (section.received_at || !section.problem) && <SectionRows deviceId={device.id} section={section} />}
    </Stack>
  );
}

