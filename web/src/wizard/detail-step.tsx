import { Accordion, Alert, Group, NumberInput, Select, Slider, Stack, Text, TextInput } from "@mantine/core";
import { useId } from "react";
import { useTranslation } from "react-i18next";
import { ArgumentList } from "./argument-list";
import type { Draft } from "./draft";
import { ExitCodes, More } from "./more";

export interface DetailProps {
  draft: Draft;
  change: (d: Partial<Draft>) => void;
  errors: Record<string, string | undefined>;
}

export function DetailStep({ draft, change, errors }: DetailProps) {
  const { t } = useTranslation();
  const runs = draft.action !== "store";
  return (
    <Stack>
      <Group grow align="flex-start">
        <TextInput label={t("newPackage.name")} maxLength={120} value={draft.name} error={errors.name} onChange={(e) => change({ name: e.currentTarget.value })} />
        <TextInput label={t("newPackage.version")} maxLength={64} value={draft.version} error={errors.version} onChange={(e) => change({ version: e.currentTarget.value })} />
      </Group>
      <Priority draft={draft} change={change} />
      {runs && (
        <NumberInput
          label={t("newPackage.timeLimit")}
          description={t("newPackage.timeLimitHint")}
          min={1}
          max={1440}
          maw={380}
          value={draft.minutes}
          onChange={(v) => change({ minutes: Number(v) || 10 })}
        />
      )}
      <Detect draft={draft} change={change} errors={errors} />
      <Accordion variant="contained" order={2}>
        {runs && (
          <Accordion.Item value="exit">
            <Accordion.Control>{t("newPackage.exitCodes")}</Accordion.Control>
            <Accordion.Panel><ExitCodes draft={draft} change={change} /></Accordion.Panel>
          </Accordion.Item>
        )}
        <Accordion.Item value="more">
          <Accordion.Control>{t("newPackage.more")}</Accordion.Control>
          <Accordion.Panel><More draft={draft} change={change} /></Accordion.Panel>
        </Accordion.Item>
      </Accordion>
    </Stack>
  );
}

function Priority({ draft, change }: Pick<DetailProps, "draft" | "change">) {
  const { t } = useTranslation();
  const id = useId();
  return (
    <Stack gap={6} pb="md">
      <Text size="sm" fw={600} id={id}>{t("newPackage.priority")}: {draft.priority}</Text>
      <Text size="xs" c="dimmed">{t("newPackage.priorityHint")}</Text>
      <Slider
        min={0}
        max={10}
        step={1}
        mx="xs"
        label={null}
        value={draft.priority}
        onChange={(priority) => change({ priority })}
        thumbProps={{ "aria-labelledby": id }}
        marks={[0, 5, 10].map((value) => ({ value, label: String(value) }))}
      />
      {draft.priority === 0 && <Alert color="yellow" mt="lg" role="status">{t("newPackage.priorityZero")}</Alert>}
    </Stack>
  );
}

function Detect({ draft, change, errors }: DetailProps) {
  const { t } = useTranslation();
  return (
    <Stack gap="xs">
      <Select
        label={t("newPackage.detect")}
        description={t("newPackage.detectHint")}
        allowDeselect={false}
        data={[
          { value: "none", label: t("newPackage.detectNone") },
          { value: "software", label: t("newPackage.detectSoftware") },
          { value: "file", label: t("newPackage.detectFile") },
          { value: "command", label: t("newPackage.detectCommand") },
        ]}
        value={draft.detect}
        error={errors.detect}
        onChange={(v) => change({ detect: (v ?? "none") as Draft["detect"] })}
      />
      {draft.detect === "software" && (
        <Group grow>
          <TextInput label={t("newPackage.softwareName")} value={draft.softwareName} onChange={(e) => change({ softwareName: e.currentTarget.value })} />
          <TextInput label={t("newPackage.softwareVersion")} value={draft.softwareVersion} onChange={(e) => change({ softwareVersion: e.currentTarget.value })} />
        </Group>
      )}
      {draft.detect === "file" && (
        <>
          <TextInput label={t("newPackage.filePath")} ff="monospace" value={draft.filePath} onChange={(e) => change({ filePath: e.currentTarget.value })} />
          <TextInput label={t("newPackage.fileDigest")} ff="monospace" value={draft.fileDigest} onChange={(e) => change({ fileDigest: e.currentTarget.value })} />
        </>
      )}
      {draft.detect === "command" && <ArgumentList legend={t("newPackage.detectCommand")} values={draft.detectCommand} onChange={(detectCommand) => change({ detectCommand })} />}
    </Stack>
  );
}
