import { Select } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { keys } from "../api/query";

interface Option {
  value: string;
  label: string;
}

interface LookupProps {
  /** The word under which what is found is kept. */
  kind: string;
  label: string;
  description?: string;
  value: string;
  onChange: (v: string) => void;
  /** What stands there while nothing is chosen. */
  placeholder?: string;
  error?: string;
  /** The first few whose names hold the text. */
  find: (q: string, signal: AbortSignal) => Promise<Option[]>;
  /** The name of one that is chosen and was not just found: it stands in the page's address. */
  name: (id: string) => Promise<string>;
}

const FOUND = 25;

/** Lookup is the choice of one of very many: the server is asked for those that match what is typed. */
function Lookup({ kind, label, description, value, onChange, placeholder, error, find, name }: LookupProps) {
  const { t } = useTranslation();
  const [text, setText] = useState("");
  const one = useQuery({ queryKey: keys.list(kind, "name", value), queryFn: () => name(value), enabled: value !== "" });
  // The field holds the chosen one's name until one types: that is no search for it.
  const [q] = useDebouncedValue(text === one.data ? "" : text, 250);
  const found = useQuery({ queryKey: keys.list(kind, "choice", q), queryFn: ({ signal }) => find(q, signal), placeholderData: keepPreviousData });
  const options = found.data ?? [];
  const listed = value && !options.some((o) => o.value === value) ? [{ value, label: one.data ?? value }, ...options] : options;
  return (
    <Select
      label={label}
      description={description}
      error={error}
      flex="1 1 150px"
      maw={360}
      searchable
      clearable
      clearButtonProps={{ "aria-label": t("common.clearChoice") }}
      placeholder={placeholder ?? t("common.any")}
      nothingFoundMessage={found.isFetching ? t("common.loading") : t("common.noMatch")}
      data={listed}
      filter={({ options: all }) => all}
      searchValue={text}
      onSearchChange={setText}
      value={value || null}
      onChange={(v) => onChange(v ?? "")}
    />
  );
}

type ChoiceProps = Pick<LookupProps, "label" | "description" | "value" | "onChange" | "placeholder" | "error">;

export function DeviceChoice(props: ChoiceProps) {
  return (
    <Lookup
      {...props}
      kind="devices"
      find={async (q, signal) => (await api.devices({ q, limit: FOUND }, signal)).items.map((d) => ({ value: d.id, label: d.hostname || d.id }))}
      name={async (id) => (await api.device(id)).hostname || id}
    />
  );
}
