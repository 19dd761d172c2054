import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Select } from "@mantine/core";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Release } from "../api/types";

/** The newest so many are offered; an older one is found on its own page. */
const OFFERED = 100;

/** useReleases reads the newest releases that devices may become. */
export function useReleases(): Release[] {
  const releases = useQuery({ queryKey: keys.list("releases", "choice"), queryFn: ({ signal }) => api.releases({ state: "active", limit: OFFERED }, signal) });
  return releases.data?.items ?? [];
}

/** useVersion is what a release is called; its id until that is known. */
export function useVersion(id: string | undefined): string {
  const release = useQuery({ queryKey: keys.one("releases", id ?? ""), queryFn: () => api.release(id ?? ""), enabled: !!id });
  return release.data?.version ?? id ?? "";
}

interface Props {
  label: string;
  description?: string;
  value: string;
  onChange: (id: string) => void;
  /** What "none" is called, where that may be chosen. */
  none?: string;
}

export function ReleaseChoice({ label, description, value, onChange, none }: Props) {
  const { t } = useTranslation();
  const version = useVersion(value || undefined);
  const options = useReleases().map((r) => ({ value: r.id, label: r.refusal ? t("release.refusedChoice", { version: r.version }) : r.version, disabled: !!r.refusal }));
  const listed = value && !options.some((o) => o.value === value) ? [{ value, label: version, disabled: false }, ...options] : options;
  return (
    <Select
      label={label}
      description={description}
      searchable
      clearable={none !== undefined}
      clearButtonProps={{ "aria-label": t("common.clearChoice") }}
      allowDeselect={none !== undefined}
      placeholder={none ?? t("release.choose")}
      nothingFoundMessage={t("release.noneToChoose")}
      data={listed}
      value={value || null}
      onChange={(v) => onChange(v ?? "")}
    />
  );
}
