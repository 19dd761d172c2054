import { Autocomplete, Code, Group, Radio, Stack, Text, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { commandLine } from "../format";
import { actions } from "../state";
import { ArgumentList } from "./argument-list";
import { command, type Draft } from "./draft";

interface StepProps {
  draft: Draft;
  change: (d: Partial<Draft>) => void;
  errors: Record<string, string | undefined>;
}

export function ActionStep({ draft, change, errors }: StepProps) {
  const { t } = useTranslation();
  const hints = { launch: t("packages.launchHint"), execute: t("packages.executeHint"), store: t("packages.storeHint") };
  const argv = command(draft);
  return (
    <Stack>
      <Radio.Group label={t("newPackage.actionLabel")} value={draft.action} onChange={(v) => change({ action: v as Draft["action"] })}>
        <Stack gap="xs" mt="xs">
          {actions.map((a) => {
            const blocked = !draft.upload && a !== "execute";
            return (
              <Radio.Card key={a} value={a} p="sm" disabled={blocked} aria-label={t(`packages.action_${a}`)}>
                <Group wrap="nowrap" align="flex-start">
                  <Radio.Indicator disabled={blocked} />
                  <div>
                    <Text fw={600}>{t(`packages.action_${a}`)}</Text>
                    <Text size="sm" c="dimmed">{hints[a]} {blocked && t("newPackage.needsArchive")}</Text>
                  </div>
                </Group>
              </Radio.Card>
            );
          })}
        </Stack>
      </Radio.Group>
      {draft.action === "launch" && <LaunchFile draft={draft} change={change} error={errors.launchFile} />}
      {draft.action === "execute" && (
        <TextInput label={t("newPackage.program")} description={t("newPackage.programHint")} ff="monospace" value={draft.program} error={errors.program} onChange={(e) => change({ program: e.currentTarget.value })} />
      )}
      {draft.action === "store" ? (
        <TextInput label={t("newPackage.storePath")} description={t("newPackage.storePathHint")} ff="monospace" value={draft.storePath} error={errors.storePath} onChange={(e) => change({ storePath: e.currentTarget.value })} />
      ) : (
        <>
          <ArgumentList legend={t("newPackage.arguments")} values={draft.args} onChange={(args) => change({ args })} />
          {argv[0] && (
            <Stack gap={4}>
              <Text size="sm" fw={600}>{t("newPackage.commandPreview")}</Text>
              <Code block>{commandLine(argv)}</Code>
            </Stack>
          )}
        </>
      )}
    </Stack>
  );
}

function LaunchFile({ draft, change, error }: { draft: Draft; change: (d: Partial<Draft>) => void; error?: string }) {
  const { t } = useTranslation();
  const entries = draft.upload?.archive?.entries ?? [];
  const total = draft.upload?.archive?.entries_total ?? 0;
  const files = entries.filter((e) => !e.dir).map((e) => e.name);
  return (
    <>
      <Autocomplete
        label={t("newPackage.launchFile")}
        description={t("newPackage.launchFileHint")}
        data={[...new Set(files)]}
        limit={100}
        value={draft.launchFile}
        error={error}
        onChange={(launchFile) => change({ launchFile })}
        comboboxProps={{ withinPortal: true }}
      />
      {total > entries.length && <Text size="sm" c="dimmed">{t("newPackage.manyEntries", { total, shown: entries.length })}</Text>}
    </>
  );
}
