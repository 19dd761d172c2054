import { ActionIcon, Button, Fieldset, Group, Stack, Text, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { CloseIcon, PlusIcon } from "../component/icon";

/** ArgumentList edits an argument vector: one field per argument, so that nothing is ever split or quoted. */
export function ArgumentList({ legend, values, onChange }: { legend: string; values: string[]; onChange: (v: string[]) => void }) {
  const { t } = useTranslation();
  return (
    <Fieldset legend={legend} variant="unstyled">
      <Stack gap="xs">
        <Text size="xs" c="dimmed">{t("newPackage.argumentsHint")}</Text>
        {values.map((value, i) => (
          <Group key={i} gap="xs" wrap="nowrap">
            <TextInput flex={1} aria-label={t("newPackage.argument", { number: i + 1 })} value={value} ff="monospace" onChange={(e) => onChange(values.with(i, e.currentTarget.value))} />
            <ActionIcon variant="subtle" color="gray" aria-label={t("newPackage.removeArgument", { number: i + 1 })} onClick={() => onChange(values.toSpliced(i, 1))}>
              <CloseIcon size={16} />
            </ActionIcon>
          </Group>
        ))}
        <div>
          <Button size="xs" variant="default" leftSection={<PlusIcon size={14} />} onClick={() => onChange([...values, ""])}>{t("newPackage.addArgument")}</Button>
        </div>
      </Stack>
    </Fieldset>
  );
}
