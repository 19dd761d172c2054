import { Anchor, Badge, Button, Group } from "@mantine/core";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { api } from "../api/client";
import { usePaged } from "../api/query";
import type { Assignment } from "../api/types";
import { useAct } from "../component/act";
import { confirm } from "../component/confirm";
import { AssignmentIcon } from "../component/icon";
import { Empty, Page } from "../component/page";
import { DataTable, type Column } from "../component/table";
import { Time } from "../component/time";
import { isSet } from "../format";

export default function Assignments() {
  const { t } = useTranslation();
  const page = usePaged("assignments", api.assignments);
  const { mutate } = useAct((id: string) => api.unassign(id), ["assignments", "deployments", "packages", "devices"], () => t("assignments.unassigned"));
  const columns = useMemo<Column<Assignment>[]>(() => {
    const name = (a: Assignment) => `${a.package_name} ${a.package_version}`;
    const ask = (a: Assignment) =>
      confirm({ title: t("assignments.unassignTitle", { name: name(a) }), text: t("assignments.unassignText"), action: t("assignments.unassign"), onConfirm: () => mutate(a.id) });
    return [
      { id: "package", header: t("packages.package"), cell: (a) => <Anchor component={Link} to={`/packages/${a.package_id}`} fw={600}>{name(a)}</Anchor> },
      { id: "devices", header: t("assignments.devices"), cell: (a) => a.device_count },
      { id: "notBefore", header: t("assignments.notBefore"), cell: (a) => (isSet(a.not_before) ? <Time at={a.not_before} /> : "–") },
      { id: "created", header: t("common.created"), cell: (a) => <Time at={a.created_at} /> },
      { id: "by", header: t("common.createdBy"), cell: (a) => a.created_by },
      {
        id: "actions",
        header: t("common.actions"),
        cell: (a) => (
          <Group gap="xs">
            <Button size="xs" variant="default" component={Link} to={`/deployments?assignment_id=${a.id}`}>{t("assignments.show")}</Button>
            {isSet(a.unassigned_at) ? (
              <Badge variant="light" color="gray" tt="none">{t("state.unassigned")}</Badge>
            ) : (
              <Button size="xs" variant="light" color="red" onClick={() => ask(a)} aria-label={`${t("assignments.unassign")}: ${name(a)}`}>{t("assignments.unassign")}</Button>
            )}
          </Group>
        ),
      },
    ];
  }, [t, mutate]);
  return (
    <Page title={t("assignments.title")} subtitle={t("assignments.subtitle")}>
      <DataTable
        label={t("assignments.title")}
        page={page}
        columns={columns}
        empty={<Empty icon={<AssignmentIcon size={32} />} title={t("assignments.emptyTitle")} hint={t("assignments.emptyHint")} action={<Button component={Link} to="/packages">{t("device.toPackages")}</Button>} />}
      />
    </Page>
  );
}
