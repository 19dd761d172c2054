import { Alert, Button, Code, Group, List, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useTranslation } from "react-i18next";
import i18next from "i18next";
import { ApiError, NetworkError } from "../api/error";
import { WarningIcon } from "./icon";

export function messageOf(err: unknown): string {
  if (err instanceof NetworkError) return i18next.t("common.networkError");
  return err instanceof Error ? err.message : String(err);
}

export function codeOf(err: unknown): string {
  if (err instanceof ApiError) return err.code;
  return err instanceof NetworkError ? "unavailable" : "";
}

/** ProblemAlert shows a refusal where it happened, with its code and the fields it names. */
export function ProblemAlert({ error, title, onRetry }: { error: unknown; title?: string; onRetry?: () => void }) {
  const { t } = useTranslation();
  if (!error) return null;
  const code = codeOf(error);
  const fields = error instanceof ApiError ? error.fields : [];
  return (
    <Alert color="red" variant="light" role="alert" icon={<WarningIcon />} title={title ?? t("common.problem")}>
      <Stack gap="xs" align="flex-start">
        <Text size="sm" className="breakable">{messageOf(error)}</Text>
        {fields.length > 0 && (
          <List size="sm">
            {fields.map((f, i) => (
              <List.Item key={i}>
                {f.field && <Code>{f.field}</Code>} {f.message}
              </List.Item>
            ))}
          </List>
        )}
        <Group gap="sm">
          {onRetry && <Button size="xs" variant="default" onClick={onRetry}>{t("common.tryAgain")}</Button>}
          {code && <Text size="xs" c="dimmed">{t("common.code", { code })}</Text>}
        </Group>
      </Stack>
    </Alert>
  );
}

/** For actions whose button is all there is on the page: the refusal appears in a corner and stays. */
export function notifyProblem(err: unknown): void {
  const code = codeOf(err);
  notifications.show({
    color: "red",
    role: "alert",
    autoClose: 15_000,
    closeButtonProps: { "aria-label": i18next.t("common.close") },
    title: i18next.t("common.problem"),
    message: code ? `${messageOf(err)} (${code})` : messageOf(err),
  });
}

export function notifyDone(message: string): void {
  notifications.show({ color: "teal", message, autoClose: 5_000, closeButtonProps: { "aria-label": i18next.t("common.close") } });
}
