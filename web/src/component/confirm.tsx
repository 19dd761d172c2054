import { Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import i18next from "i18next";

/** confirm asks before something that cannot simply be taken back. */
export function confirm(o: { title: string; text: string; action: string; danger?: boolean; onConfirm: () => void }): void {
  modals.openConfirmModal({
    title: o.title,
    children: <Text size="sm">{o.text}</Text>,
    labels: { confirm: o.action, cancel: i18next.t("common.cancel") },
    confirmProps: { color: o.danger === false ? undefined : "red" },
    closeButtonProps: { "aria-label": i18next.t("common.close") },
    onConfirm: o.onConfirm,
  });
}
