import { Badge, Code, Text } from "@mantine/core";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { AuditEntry } from "../api/types";
import { LogIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";

const KINDS = ["session", "token", "system"] as const;

export default function Audit() {
  const { t } = useTranslation();
  const page = usePaged("audit", api.audit);
  const columns = useMemo<Column<AuditEntry>[]>(() => {
    const kind = (name: string) => {
      const known = KINDS.find((k) => k === name);
      return known ? t(`audit.kind_${known}`) : name;
    };
    return [
      { id: "what", header: t("audit.what"), cell: (e) => <Code>{e.operation}</Code> },
      { id: "time", header: t("audit.time"), cell: (e) => <Time at={e.time} /> },
      { id: "who", header: t("audit.who"), cell: (e) => <>{e.actor || "–"}{e.actor_kind && <Text span size="sm" c="dimmed"> ({kind(e.actor_kind)})</Text>}</> },
      { id: "target", header: t("audit.target"), cell: (e) => e.target || "–" },
      { id: "details", header: t("audit.details"), cell: (e) => Object.entries(e.details ?? {}).map(([k, v]) => `${k}: ${v}`).join(", ") || "–" },
      { id: "from", header: t("audit.from"), cell: (e) => e.remote_ip || "–" },
      {
        id: "outcome",
        header: t("audit.outcome"),
        cell: (e) => (
          <Badge variant="light" tt="none" color={e.status < 400 ? "teal" : "red"}>{e.status < 400 ? t("audit.ok") : t("audit.refused", { status: e.status })}</Badge>
        ),
      },
    ];
  }, [t]);
  return (
    <Page title={t("audit.title")} subtitle={t("audit.subtitle")}>
      <DataTable label={t("audit.title")} page={page} columns={columns} empty={<Empty icon={<LogIcon size={32} />} title={t("audit.emptyTitle")} hint={t("audit.emptyHint")} />} />
    </Page>
  );
}
