import { Badge, Group, Stack, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Installed, SoftwareChange } from "../api/types";

/** Marks of an installed program that decide whether it can go: essential, or in a condition that is not sound. */
export function SoftwareMarks({ software: s }: { software: Pick<Installed, "essential" | "condition"> }) {
  const { t } = useTranslation();
  if (!s.essential && !s.condition) return null;
  return (
    <Group gap={6}>
      {s.essential && <Badge variant="light" color="blue" tt="none">{t("software.essential")}</Badge>}
      {s.condition && <Badge variant="light" color="orange" tt="none">{s.condition}</Badge>}
    </Group>
  );
}

/** ChangeText says what became of a program: "1.0 → 1.1". */
export function ChangeText({ change: c }: { change: SoftwareChange }) {
  const { t } = useTranslation();
  const color = { added: "teal", removed: "orange", updated: "blue" }[c.change];
  return (
    <Group gap={8}>
      <Badge variant="light" color={color} tt="none">{t(`software.change_${c.change}`)}</Badge>
      <Text span size="sm">{[c.from, c.to].filter(Boolean).join(" → ")}</Text>
    </Group>
  );
}

/** Named is a program's name with what it is, when that is known. */
export function Named({ children, summary }: { children: React.ReactNode; summary?: string }) {
  return (
    <Stack gap={0} align="flex-start">
      {children}
      {summary && <Text size="xs" c="dimmed" fw={400} lineClamp={1}>{summary}</Text>}
    </Stack>
  );
}
