import { Button, Group, Modal, NativeSelect, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { ApiToken } from "../api/types";
import { useAct } from "../component/act";
import { confirm } from "../component/confirm";
import { CopyBlock } from "../component/copy";
import { KeyIcon, PlusIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { ProblemAlert } from "../component/problem";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";

export default function ApiTokens() {
  const { t } = useTranslation();
  const [creating, create] = useDisclosure();
  const page = usePaged("api-tokens", api.apiTokens);
  const { mutate } = useAct((id: string) => api.deleteApiToken(id), ["api-tokens"], () => t("apiTokens.deleted"));
  const columns = useMemo<Column<ApiToken>[]>(() => {
    const ask = (k: ApiToken) =>
      confirm({ title: t("apiTokens.deleteTitle", { name: k.name }), text: t("apiTokens.deleteText"), action: t("common.delete"), onConfirm: () => mutate(k.id) });
    return [
      { id: "name", header: t("common.name"), cell: (k) => k.name },
      { id: "lastUsed", header: t("apiTokens.lastUsed"), cell: (k) => <Time at={k.last_used_at} /> },
      { id: "expires", header: t("common.expires"), cell: (k) => <Time at={k.expires_at} /> },
      { id: "created", header: t("common.created"), cell: (k) => <Time at={k.created_at} /> },
      {
        id: "actions",
        header: t("common.actions"),
        cell: (k) => <Button size="xs" variant="light" color="red" onClick={() => ask(k)} aria-label={`${t("common.delete")}: ${k.name}`}>{t("common.delete")}</Button>,
      },
    ];
  }, [t, mutate]);
  const button = <Button leftSection={<PlusIcon size={16} />} onClick={create.open}>{t("apiTokens.create")}</Button>;
  return (
    <Page title={t("apiTokens.title")} subtitle={t("apiTokens.subtitle")} actions={button}>
      <DataTable label={t("apiTokens.title")} page={page} columns={columns} empty={<Empty icon={<KeyIcon size={32} />} title={t("apiTokens.emptyTitle")} hint={t("apiTokens.emptyHint")} action={button} />} />
      <Modal opened={creating} onClose={create.close} title={t("apiTokens.create")} closeButtonProps={{ "aria-label": t("common.close") }}>
        <CreateToken onClose={create.close} />
      </Modal>
    </Page>
  );
}

function CreateToken({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const form = useForm({ initialValues: { name: "", days: "90" }, validate: { name: (v) => (v.trim() ? null : t("apiTokens.nameMissing")) } });
  const create = useMutation({
    mutationFn: (v: typeof form.values) => api.createApiToken({ name: v.name.trim(), ...(v.days ? { expires_in_days: Number(v.days) } : {}) }),
    onSuccess: () => void client.invalidateQueries({ queryKey: ["api-tokens"] }),
  });
  if (create.data) {
    return (
      <Stack>
        <Text size="sm">{t("common.shownOnce")}</Text>
        <CopyBlock value={create.data.token} label={t("apiTokens.token")} />
        <Group justify="flex-end"><Button onClick={onClose}>{t("common.close")}</Button></Group>
      </Stack>
    );
  }
  return (
    <form onSubmit={form.onSubmit((v) => create.mutate(v))}>
      <Stack>
        <ProblemAlert error={create.error} />
        <TextInput label={t("apiTokens.name")} description={t("apiTokens.nameHint")} maxLength={120} data-autofocus {...form.getInputProps("name")} />
        <NativeSelect
          label={t("apiTokens.days")}
          data={[
            { value: "30", label: t("apiTokens.day30") },
            { value: "90", label: t("apiTokens.day90") },
            { value: "365", label: t("apiTokens.day365") },
            { value: "", label: t("apiTokens.forever") },
          ]}
          {...form.getInputProps("days")}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" loading={create.isPending}>{t("apiTokens.create")}</Button>
        </Group>
      </Stack>
    </form>
  );
}
