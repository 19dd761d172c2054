import { MultiSelect } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Group } from "../api/types";
import { Choice } from "./choice";

const PAGE = 200;

/** useGroups reads all groups, of which a server has a few hundred at most. */
export function useGroups(kind?: Group["kind"]) {
  const groups = useQuery({
    queryKey: keys.list("groups", "choice", kind ?? ""),
    queryFn: async ({ signal }) => {
      const all: Group[] = [];
      let cursor: string | undefined;
      do {
        const page = await api.groups({ kind, limit: PAGE, cursor }, signal);
        all.push(...page.items);
        cursor = page.next;
      } while (cursor);
      return all;
    },
  });
  return groups.data ?? [];
}

/** GroupChoice is one group or none. */
export function GroupChoice({ label, value, onChange }: { label: string; value: string; onChange: (v: string) => void }) {
  const groups = useGroups();
  return <Choice label={label} value={value} onChange={onChange} data={groups.map((g) => ({ value: g.id, label: g.name }))} />;
}

/** GroupsChoice is any number of lists; a saved search finds its members by itself. */
export function GroupsChoice({ label, description, value, onChange }: { label: string; description?: string; value: string[]; onChange: (v: string[]) => void }) {
  const { t } = useTranslation();
  const groups = useGroups("static");
  return (
    <MultiSelect
      label={label}
      description={description}
      searchable
      clearable
      clearButtonProps={{ "aria-label": t("common.clearChoice") }}
      placeholder={value.length === 0 ? t("common.none") : undefined}
      nothingFoundMessage={t("common.noMatch")}
      maxValues={20}
      data={groups.map((g) => ({ value: g.id, label: g.name }))}
      value={value}
      onChange={onChange}
    />
  );
}
