import { Button, Group, PasswordInput, Stack } from "@mantine/core";
import { useForm } from "@mantine/form";
import { modals } from "@mantine/modals";
import { useMutation } from "@tanstack/react-query";
import i18next from "i18next";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { notifyDone, ProblemAlert } from "../component/problem";

const MIN_PASSWORD = 12;

export function openChangePassword(): void {
  modals.open({ modalId: "change-password", title: i18next.t("account.title"), closeButtonProps: { "aria-label": i18next.t("common.close") }, children: <ChangePassword /> });
}

function ChangePassword() {
  const { t } = useTranslation();
  const form = useForm({
    initialValues: { current: "", next: "" },
    validate: { next: (v) => (v.length < MIN_PASSWORD ? t("account.tooShort") : null) },
  });
  const change = useMutation({
    mutationFn: (v: { current: string; next: string }) => api.changePassword(v.current, v.next),
    onSuccess: () => {
      modals.close("change-password");
      notifyDone(t("account.changed"));
    },
  });
  return (
    <form onSubmit={form.onSubmit((v) => change.mutate(v))}>
      <Stack>
        <ProblemAlert error={change.error} />
        <PasswordInput label={t("account.current")} autoComplete="current-password" required withAsterisk={false} {...form.getInputProps("current")} />
        <PasswordInput label={t("account.new")} description={t("account.newHint")} autoComplete="new-password" required withAsterisk={false} {...form.getInputProps("next")} />
        <Group justify="flex-end">
          <Button type="submit" loading={change.isPending}>{t("common.save")}</Button>
        </Group>
      </Stack>
    </form>
  );
}
