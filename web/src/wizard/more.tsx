import { ActionIcon, Button, Checkbox, Fieldset, Group, MultiSelect, NativeSelect, NumberInput, Stack, Text, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { ExitCode } from "../api/types";
import { CloseIcon, PlusIcon } from "../component/icon";
import { outcomes } from "../state";
import type { DetailProps } from "./detail-step";

type Props = Pick<DetailProps, "draft" | "change">;

export function ExitCodes({ draft, change }: Props) {
  const { t } = useTranslation();
  const codes = draft.exitCodes;
  const set = (i: number, e: ExitCode) => change({ exitCodes: codes.with(i, e) });
  return (
    <Stack gap="xs">
      <Text size="sm" c="dimmed">{t("newPackage.exitCodesHint")}</Text>
      {codes.map((e, i) => (
        <Group key={i} gap="xs" align="flex-end" wrap="nowrap">
          <NumberInput label={t("newPackage.exitCode")} w={110} allowDecimal={false} hideControls value={e.code} onChange={(v) => set(i, { ...e, code: Number(v) || 0 })} />
          <NativeSelect label={t("newPackage.outcome")} flex={1} data={outcomes.map((o) => ({ value: o, label: t(`newPackage.outcome_${o}`) }))} value={e.outcome} onChange={(ev) => set(i, { ...e, outcome: ev.currentTarget.value as ExitCode["outcome"] })} />
          <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("newPackage.removeExitCode", { code: e.code })} onClick={() => change({ exitCodes: codes.toSpliced(i, 1) })}><CloseIcon size={16} /></ActionIcon>
        </Group>
      ))}
      <div>
        <Button size="xs" variant="default" leftSection={<PlusIcon size={14} />} onClick={() => change({ exitCodes: [...codes, { code: codes.length, outcome: "success" }] })}>{t("newPackage.addExitCode")}</Button>
      </div>
    </Stack>
  );
}

export function More({ draft, change }: Props) {
  const { t } = useTranslation();
  const runs = draft.action !== "store";
  return (
    <Stack>
      <Group grow align="flex-start">
        <MultiSelect label={t("newPackage.os")} placeholder={draft.os.length ? undefined : t("common.any")} data={["linux", "windows", "darwin"]} value={draft.os} onChange={(os) => change({ os })} />
        <MultiSelect label={t("newPackage.arch")} placeholder={draft.arch.length ? undefined : t("common.any")} data={["amd64", "arm64"]} value={draft.arch} onChange={(arch) => change({ arch })} />
      </Group>
      {runs && (
        <Group grow align="flex-start">
          <NumberInput label={t("newPackage.attempts")} description={draft.priority === 0 ? t("newPackage.attemptsZero") : t("newPackage.attemptsHint")} disabled={draft.priority === 0} min={1} max={100} allowDecimal={false} value={draft.attempts} onChange={(v) => change({ attempts: Number(v) || 1 })} />
          <NumberInput label={t("newPackage.delay")} description={"\u00a0"} disabled={draft.priority === 0 || draft.attempts < 2} min={1} max={60} value={draft.delayMinutes} onChange={(v) => change({ delayMinutes: Number(v) || 1 })} />
        </Group>
      )}
      {runs && <Checkbox label={t("newPackage.rerun")} description={t("newPackage.rerunHint")} checked={draft.rerunSafe} onChange={(e) => change({ rerunSafe: e.currentTarget.checked })} />}
      <Checkbox label={t("newPackage.cleanBoot")} checked={draft.cleanBoot} onChange={(e) => change({ cleanBoot: e.currentTarget.checked })} />
      <Checkbox label={t("newPackage.private")} checked={draft.private} onChange={(e) => change({ private: e.currentTarget.checked })} />
      {runs && <Environment draft={draft} change={change} />}
    </Stack>
  );
}

function Environment({ draft, change }: Props) {
  const { t } = useTranslation();
  const env = draft.env;
  return (
    <Fieldset legend={t("newPackage.env")} variant="unstyled">
      <Stack gap="xs">
        <Text size="xs" c="dimmed">{t("newPackage.envHint")}</Text>
        {env.map((e, i) => (
          <Group key={i} gap="xs" wrap="nowrap">
            <TextInput aria-label={t("newPackage.envName", { number: i + 1 })} ff="monospace" flex={1} value={e.name} onChange={(ev) => change({ env: env.with(i, { ...e, name: ev.currentTarget.value }) })} />
            <span aria-hidden="true">=</span>
            <TextInput aria-label={t("newPackage.envValue", { number: i + 1 })} ff="monospace" flex={2} value={e.value} onChange={(ev) => change({ env: env.with(i, { ...e, value: ev.currentTarget.value }) })} />
            <ActionIcon variant="subtle" color="gray" aria-label={t("newPackage.removeEnv", { number: i + 1 })} onClick={() => change({ env: env.toSpliced(i, 1) })}><CloseIcon size={16} /></ActionIcon>
          </Group>
        ))}
        <div>
          <Button size="xs" variant="default" leftSection={<PlusIcon size={14} />} onClick={() => change({ env: [...env, { name: "", value: "" }] })}>{t("newPackage.addEnv")}</Button>
        </div>
      </Stack>
    </Fieldset>
  );
}
