import { Badge, Button } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { EnrollmentToken } from "../api/types";
import { useAct } from "../component/act";
import { confirm } from "../component/confirm";
import { PlusIcon, TicketIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { color } from "../state";
import { AddDevice } from "./add-device";

export function tokenState(k: EnrollmentToken, now: number): "valid" | "used" | "expired" | "revoked" {
  if (k.revoked) return "revoked";
  if (k.max_uses > 0 && k.uses >= k.max_uses) return "used";
  return Date.parse(k.expires_at) <= now ? "expired" : "valid";
}

export default function EnrollmentTokens() {
  const { t } = useTranslation();
  const [adding, add] = useDisclosure();
  const page = usePaged("enrollment-tokens", api.enrollmentTokens);
  const { mutate } = useAct((id: string) => api.revokeEnrollmentToken(id), ["enrollment-tokens"], () => t("enrollmentTokens.revoked"));
  const columns = useMemo<Column<EnrollmentToken>[]>(() => {
    const ask = (k: EnrollmentToken) =>
      confirm({ title: t("enrollmentTokens.revokeTitle", { name: k.name }), text: t("enrollmentTokens.revokeText"), action: t("enrollmentTokens.revoke"), onConfirm: () => mutate(k.id) });
    return [
      { id: "name", header: t("common.name"), cell: (k) => k.name },
      {
        id: "state",
        header: t("common.state"),
        cell: (k) => {
          const s = tokenState(k, Date.now());
          return <Badge variant="light" tt="none" color={color(s)}>{t(`enrollmentTokens.state_${s}`)}</Badge>;
        },
      },
      { id: "uses", header: t("enrollmentTokens.uses"), cell: (k) => (k.max_uses > 0 ? t("enrollmentTokens.usesOf", { uses: k.uses, max: k.max_uses }) : t("enrollmentTokens.usesUnlimited", { uses: k.uses })) },
      { id: "approval", header: t("enrollmentTokens.approval"), cell: (k) => (k.needs_approval ? t("enrollmentTokens.needsApproval") : t("enrollmentTokens.joinsAtOnce")) },
      { id: "groups", header: t("enrollmentTokens.groups"), cell: (k) => k.groups.map((g) => g.name).join(", ") || "–" },
      { id: "expires", header: t("common.expires"), cell: (k) => <Time at={k.expires_at} /> },
      { id: "created", header: t("common.created"), cell: (k) => <Time at={k.created_at} /> },
      {
        id: "actions",
        header: t("common.actions"),
        cell: (k) =>
          k.revoked ? "–" : <Button size="xs" variant="light" color="red" onClick={() => ask(k)} aria-label={`${t("enrollmentTokens.revoke")}: ${k.name}`}>{t("enrollmentTokens.revoke")}</Button>,
      },
    ];
  }, [t, mutate]);
  const button = <Button leftSection={<PlusIcon size={16} />} onClick={add.open}>{t("devices.add")}</Button>;
  return (
    <Page title={t("enrollmentTokens.title")} subtitle={t("enrollmentTokens.subtitle")} actions={button}>
      <DataTable label={t("enrollmentTokens.title")} page={page} columns={columns} empty={<Empty icon={<TicketIcon size={32} />} title={t("enrollmentTokens.emptyTitle")} hint={t("enrollmentTokens.emptyHint")} action={button} />} />
      <AddDevice opened={adding} onClose={add.close} />
    </Page>
  );
}
