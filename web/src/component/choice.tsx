import { Select } from "@mantine/core";
import { useTranslation } from "react-i18next";

interface ChoiceProps {
  label: string;
  value: string;
  data: { value: string; label: string }[];
  onChange: (v: string) => void;
  width?: number;
}

/** Choice is a filter of one value or any. One from an address stays in force although it is not listed. */
export function Choice({ label, value, data, onChange, width = 220 }: ChoiceProps) {
  const { t } = useTranslation();
  const listed = value && !data.some((d) => d.value === value) ? [{ value, label: value }, ...data] : data;
  return <Select label={label} flex="1 1 150px" maw={width} searchable clearable clearButtonProps={{ "aria-label": t("common.clearFilters") }} placeholder={t("common.any")} data={listed} value={value || null} onChange={(v) => onChange(v ?? "")} />;
}
