import { Alert, Anchor, Button, Checkbox, Group, Loader, Modal, NativeSelect, NumberInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { NewEnrollmentToken } from "../api/types";
import { CopyBlock } from "../component/copy";
import { GroupsChoice } from "../component/group-choice";
import { ProblemAlert } from "../component/problem";

/** AddDevice makes an enrollment token, shows the command that uses it, and waits for the device. */
export function AddDevice({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Modal opened={opened} onClose={onClose} title={t("addDevice.title")} size="lg" closeButtonProps={{ "aria-label": t("common.close") }}>
      <Steps onClose={onClose} />
    </Modal>
  );
}

function Steps({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const form = useForm({ initialValues: { name: t("addDevice.nameDefault"), max: 1 as number | string, hours: "168", approval: false, groups: [] as string[] } });
  const create = useMutation({
    mutationFn: (v: typeof form.values) =>
      api.createEnrollmentToken({ name: v.name.trim(), max_uses: Number(v.max) || 0, expires_in_hours: Number(v.hours), needs_approval: v.approval, group_ids: v.groups }),
    onSuccess: () => void client.invalidateQueries({ queryKey: ["enrollment-tokens"] }),
  });
  if (create.data) return <Command token={create.data} onClose={onClose} />;
  return (
    <form onSubmit={form.onSubmit((v) => create.mutate(v))}>
      <Stack>
        <Text size="sm">{t("addDevice.intro")}</Text>
        <ProblemAlert error={create.error} />
        <TextInput label={t("addDevice.name")} description={t("addDevice.nameHint")} required withAsterisk={false} maxLength={120} data-autofocus {...form.getInputProps("name")} />
        <Group grow align="flex-start">
          <NumberInput label={t("addDevice.maxUses")} description={t("addDevice.maxUsesHint")} inputWrapperOrder={["label", "input", "description"]} min={0} max={100000} allowDecimal={false} hideControls {...form.getInputProps("max")} />
          <NativeSelect
            label={t("addDevice.hours")}
            data={[
              { value: "1", label: t("addDevice.hour1") },
              { value: "24", label: t("addDevice.day1") },
              { value: "168", label: t("addDevice.day7") },
              { value: "720", label: t("addDevice.day30") },
            ]}
            {...form.getInputProps("hours")}
          />
        </Group>
        <GroupsChoice label={t("addDevice.groups")} description={t("addDevice.groupsHint")} value={form.values.groups} onChange={(v) => form.setFieldValue("groups", v)} />
        <Checkbox label={t("addDevice.needsApproval")} {...form.getInputProps("approval", { type: "checkbox" })} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" loading={create.isPending}>{t("addDevice.create")}</Button>
        </Group>
      </Stack>
    </form>
  );
}

function Command({ token, onClose }: { token: NewEnrollmentToken; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Stack>
      <Text size="sm" c="dimmed">{t("addDevice.notInstalled")}</Text>
      <Text size="sm" fw={600}>{t("addDevice.runTitle")}</Text>
      <CopyBlock value={`muster-agent enroll ${token.enrollment}`} label={t("addDevice.commandLabel")} />
      <Text size="sm" c="dimmed">{t("common.shownOnce")}</Text>
      <Text size="sm" fw={600}>{t("addDevice.thenTitle")}</Text>
      <CopyBlock value="muster-agent run" label={t("addDevice.thenTitle")} />
      <Arrival since={token.created_at} onOpen={onClose} />
      <Group justify="flex-end">
        <Button onClick={onClose}>{t("common.close")}</Button>
      </Group>
    </Stack>
  );
}

/** Arrival watches for the first device that enrolled after the token was made. */
function Arrival({ since, onOpen }: { since: string; onOpen: () => void }) {
  const { t } = useTranslation();
  const devices = useQuery({
    queryKey: keys.list("devices", "arrival", since),
    queryFn: ({ signal }) => api.devices({ limit: 50 }, signal),
    refetchInterval: 5_000,
  });
  const joined = devices.data?.items.filter((d) => Date.parse(d.enrolled_at) >= Date.parse(since)) ?? [];
  if (joined.length === 0) {
    return (
      <Group gap="sm" role="status" wrap="nowrap">
        <Loader size="sm" aria-hidden="true" />
        <Text size="sm">{t("addDevice.waiting")} <Text span c="dimmed">{t("addDevice.waitingHint")}</Text></Text>
      </Group>
    );
  }
  return (
    <Alert color="teal" role="status">
      {joined.map((d) => (
        <div key={d.id}>
          {t("addDevice.joined", { hostname: d.hostname })} <Anchor component={Link} to={`/devices/${d.id}`} onClick={onOpen}>{t("addDevice.openDevice", { hostname: d.hostname })}</Anchor>
        </div>
      ))}
    </Alert>
  );
}
