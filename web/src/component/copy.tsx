import { ActionIcon, Box, Button, CopyButton, Group, Stack, Text, Tooltip } from "@mantine/core";
import { useTranslation } from "react-i18next";
import classes from "./copy.module.css";
import { CheckIcon, CopyIcon } from "./icon";

/** CopyBlock shows a text that is to be pasted elsewhere, whole, with its button. */
export function CopyBlock({ value, label }: { value: string; label: string }) {
  const { t } = useTranslation();
  return (
    <Stack gap={6}>
      <Box component="pre" className={classes.block} tabIndex={0} role="region" aria-label={label}>{value}</Box>
      <CopyButton value={value}>
        {({ copied, copy }) => (
          <Group>
            <Button size="xs" variant="light" color={copied ? "teal" : undefined} onClick={copy} leftSection={copied ? <CheckIcon size={16} /> : <CopyIcon size={16} />}>
              <span aria-live="polite">{copied ? t("common.copied") : t("common.copy")}</span>
            </Button>
          </Group>
        )}
      </CopyButton>
    </Stack>
  );
}

/** Copyable is a fingerprint or an id: shown whole, broken where it must be. */
export function Copyable({ value }: { value: string }) {
  const { t } = useTranslation();
  return (
    <Group gap={4} wrap="nowrap" align="center">
      <Text span ff="monospace" size="sm" className="breakable">{value}</Text>
      <CopyButton value={value}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? t("common.copied") : t("common.copy")}>
            <ActionIcon variant="subtle" color={copied ? "teal" : "gray"} onClick={copy} aria-label={t("common.copy")} size="sm">
              {copied ? <CheckIcon size={14} /> : <CopyIcon size={14} />}
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
    </Group>
  );
}
