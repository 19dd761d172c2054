import { Alert, Anchor, Button, Card, Group as Row, Modal, NativeSelect, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { Link, useNavigate, useParams } from "react-router";
import { api } from "../api/client";
import { keys, usePaged } from "../api/query";
import type { Group, Member } from "../api/types";
import { useAct } from "../component/act";
import { Connected, DeviceBadge } from "../component/badge";
import { confirm } from "../component/confirm";
import { Copyable } from "../component/copy";
import { DevicePicker } from "../component/device-picker";
import { Fact, Facts } from "../component/facts";
import { DeviceIcon, SearchIcon } from "../component/icon";
import { Loaded } from "../component/loaded";
import { Empty, Page } from "../component/page";
import { notifyDone, ProblemAlert } from "../component/problem";
import { ReleaseChoice, useVersion } from "../component/release-choice";
import { Search } from "../component/search";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { absolute } from "../format";
import { searchFields, searchOf, timeFields, valuesOf } from "../group";
import { logLevels } from "../log";
import { GroupDialog } from "./group-dialog";
import { KindBadge } from "./groups";
import { UpdateDialog } from "./update-agents";

export default function GroupPage() {
  const { t } = useTranslation();
  const id = useParams().id ?? "";
  const group = useQuery({ queryKey: keys.one("groups", id), queryFn: () => api.group(id) });
  return <Loaded query={group} parent={{ to: "/groups", label: t("group.title") }}>{(g) => <Detail key={g.id} group={g} />}</Loaded>;
}

function Detail({ group }: { group: Group }) {
  const { t } = useTranslation();
  return (
    <Page title={group.name} badge={<KindBadge kind={group.kind} />} subtitle={group.description} parent={{ to: "/groups", label: t("group.title") }} actions={<Actions group={group} />}>
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Card withBorder><Settings group={group} /></Card>
        <Card withBorder><About group={group} /></Card>
      </SimpleGrid>
      <Members group={group} />
    </Page>
  );
}

function Actions({ group }: { group: Group }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [editing, edit] = useDisclosure();
  const [updating, update] = useDisclosure();
  const remove = useAct(
    async () => {
      await api.deleteGroup(group.id);
      await navigate("/groups");
    },
    ["groups", "devices", "enrollment-tokens"],
    () => t("group.deleted", { name: group.name }),
  );
  const ask = () => confirm({ title: t("group.deleteTitle", { name: group.name }), text: t("group.deleteText"), action: t("common.delete"), onConfirm: () => remove.mutate() });
  return (
    <>
      <Button variant="light" color="red" onClick={ask} loading={remove.isPending}>{t("common.delete")}</Button>
      <Button variant="default" onClick={edit.open}>{t("group.edit")}</Button>
      <Button variant="default" onClick={update.open}>{t("update.open")}</Button>
      <GroupDialog group={group} opened={editing} onClose={edit.close} />
      <UpdateDialog group={group} opened={updating} onClose={update.close} />
    </>
  );
}

/** Settings are what each member is told, and each device that joins later. */
function Settings({ group }: { group: Group }) {
  const { t } = useTranslation();
  const [changing, change] = useDisclosure();
  const version = useVersion(group.release_id);
  const level = logLevels.find((l) => l === group.log_level);
  return (
    <Stack gap="sm">
      <Row justify="space-between">
        <Title order={2} size="h3">{t("group.settings")}</Title>
        <Button size="xs" variant="default" onClick={change.open}>{t("group.changeSettings")}</Button>
      </Row>
      <Facts>
        <Fact label={t("group.log")}>{level ? t("group.logFrom", { level: t(`log.level_${level}`) }) : t("group.logNone")}</Fact>
        <Fact label={t("group.release")}>{group.release_id ? <Anchor component={Link} to={`/releases/${group.release_id}`}>{version}</Anchor> : t("group.releaseNone")}</Fact>
      </Facts>
      <Text size="sm" c="dimmed">{t("group.settingsHint")}</Text>
      <Modal opened={changing} onClose={change.close} title={t("group.settingsOf", { name: group.name })} closeButtonProps={{ "aria-label": t("common.close") }}>
        <SettingsForm group={group} onClose={change.close} />
      </Modal>
    </Stack>
  );
}

function SettingsForm({ group, onClose }: { group: Group; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [level, setLevel] = useState(group.log_level ?? "");
  const [release, setRelease] = useState(group.release_id ?? "");
  const save = useMutation({
    mutationFn: () => api.changeGroup(group.id, { log_level: level, release_id: release }),
    onSuccess: () => {
      notifyDone(t("group.settingsSaved"));
      onClose();
    },
    onSettled: () => {
      for (const kind of ["groups", "devices", "tasks", "device-log"]) void client.invalidateQueries({ queryKey: [kind] });
    },
  });
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        save.mutate();
      }}
    >
      <Stack>
        <ProblemAlert error={save.error} />
        <NativeSelect
          label={t("group.log")}
          description={t("group.logHint")}
          data={[{ value: "", label: t("group.logNone") }, ...logLevels.map((l) => ({ value: l, label: t("group.logFrom", { level: t(`log.level_${l}`) }) }))]}
          value={level}
          onChange={(e) => setLevel(e.currentTarget.value)}
          data-autofocus
        />
        <ReleaseChoice label={t("group.release")} description={t("group.releaseHint")} value={release} onChange={setRelease} none={t("group.releaseNone")} />
        <Row justify="flex-end">
          <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" loading={save.isPending}>{t("common.save")}</Button>
        </Row>
      </Stack>
    </form>
  );
}

function About({ group }: { group: Group }) {
  const { t, i18n } = useTranslation();
  const values = valuesOf(group.search);
  const said = searchOf(values);
  const shown = (field: (typeof searchFields)[number]) => (timeFields.has(field) ? absolute(String(said[field]), i18n.language) : String(said[field]));
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{group.kind === "search" ? t("group.looksFor") : t("group.about")}</Title>
      {group.kind === "search" && Object.keys(said).length === 0 && <Text size="sm">{t("group.everyDevice")}</Text>}
      <Facts>
        {searchFields.map((field) => said[field] !== undefined && <Fact key={field} label={t(`group.search_${field}`)}>{shown(field)}</Fact>)}
        <Fact label={t("common.created")}><Time at={group.created_at} /></Fact>
        <Fact label={t("common.createdBy")}>{group.created_by}</Fact>
        <Fact label={t("group.id")}><Copyable value={group.id} /></Fact>
      </Facts>
    </Stack>
  );
}

function Members({ group }: { group: Group }) {
  const { t } = useTranslation();
  const [q, setQ] = useState("");
  const [adding, add] = useDisclosure();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const raw = usePaged<Member>(["groups", group.id, "members"], (query, signal) => api.groupMembers(group.id, query, signal), { q });
  const page = useMemo(() => ({ ...raw, items: raw.items.map((m) => ({ ...m, id: m.device_id })) }), [raw]);
  const stale = ["groups", "devices"];
  const takeOff = useAct(() => api.removeMembers(group.id, [...chosen]), stale, () => {
    const count = chosen.size;
    setChosen(new Set());
    return t("group.takenOff", { count });
  });
  const columns = useMemo<Column<Member & { id: string }>[]>(
    () => [
      { id: "hostname", header: t("devices.hostname"), cell: (m) => <Anchor component={Link} to={`/devices/${m.device_id}`} fw={600}>{m.hostname || m.device_id}</Anchor> },
      { id: "state", header: t("common.state"), cell: (m) => <DeviceBadge state={m.state} /> },
      { id: "connected", header: t("devices.connection"), cell: (m) => <Connected connected={m.connected} /> },
      { id: "system", header: t("devices.system"), cell: (m) => `${m.os_name} ${m.os_version}`.trim() || "–" },
      { id: "agent", header: t("devices.agent"), cell: (m) => m.agent_version || "–" },
      { id: "added", header: t("group.joined"), cell: (m) => (m.added_at ? <Time at={m.added_at} /> : t("group.joins")) },
    ],
    [t],
  );
  const names = new Map(page.items.map((m) => [m.id, m.hostname || m.id]));
  const list = group.kind === "static";
  const addButton = list && <Button onClick={add.open}>{t("group.add")}</Button>;
  return (
    <Stack gap="sm">
      <Row justify="space-between" align="flex-end">
        <Title order={2} size="h3">{t("group.membersCount", { count: group.members })}</Title>
        {list && (
          <Row gap="sm">
            {chosen.size > 0 && <Button variant="light" color="red" onClick={() => takeOff.mutate()} loading={takeOff.isPending}>{t("group.takeOff", { count: chosen.size })}</Button>}
            {addButton}
          </Row>
        )}
      </Row>
      {(group.members > 0 || q !== "") && <Row><Search label={t("group.searchMembers")} value={q} onChange={setQ} /></Row>}
      <DataTable
        label={t("group.members")}
        page={page}
        columns={columns}
        selection={
          list
            ? {
                has: (id) => chosen.has(id),
                toggle: (id, on) => setChosen((old) => new Set(on ? [...old, id] : [...old].filter((o) => o !== id))),
                label: (id) => t("picker.select", { hostname: names.get(id) ?? id }),
              }
            : undefined
        }
        empty={
          q ? (
            <Empty icon={<SearchIcon size={32} />} title={t("common.noMatch")} hint={t("common.noMatchHint")} />
          ) : (
            <Empty icon={<DeviceIcon size={32} />} title={t("group.noMembers")} hint={list ? t("group.noMembersHint") : t("group.noneFound")} action={addButton} />
          )
        }
      />
      <Modal opened={adding} onClose={add.close} title={t("group.addTo", { name: group.name })} size="xl" closeButtonProps={{ "aria-label": t("common.close") }}>
        <AddMembers group={group} onClose={add.close} />
      </Modal>
    </Stack>
  );
}

function AddMembers({ group, onClose }: { group: Group; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [chosen, setChosen] = useState<ReadonlyMap<string, string>>(new Map());
  const add = useMutation({
    mutationFn: () => api.addMembers(group.id, [...chosen.keys()]),
    onSuccess: () => {
      notifyDone(t("group.added", { count: chosen.size }));
      onClose();
    },
    onSettled: () => {
      for (const kind of ["groups", "devices"]) void client.invalidateQueries({ queryKey: [kind] });
    },
  });
  return (
    <Stack>
      <ProblemAlert error={add.error} />
      {(group.log_level || group.release_id) && <Alert color="blue">{t("group.addApplies")}</Alert>}
      <DevicePicker chosen={chosen} onChange={setChosen} />
      <Row justify="flex-end">
        <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
        <Button disabled={chosen.size === 0} loading={add.isPending} onClick={() => add.mutate()}>{t("group.add")}</Button>
      </Row>
    </Stack>
  );
}
