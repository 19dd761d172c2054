import { Fieldset, NumberInput, Select, SimpleGrid, Stack, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { searchParts, timeFields, type SearchField, type SearchPart, type SearchValues } from "../group";

const STATES = ["active", "pending", "quarantined"] as const;
const SYSTEMS = ["linux", "windows", "darwin"];
const ARCHITECTURES = ["amd64", "arm64"];

interface Props {
  values: SearchValues;
  onChange: (next: SearchValues) => void;
}

/** SearchForm asks which devices a group is to hold: all of what is filled in must be true of one. */
export function SearchForm({ values, onChange }: Props) {
  const { t } = useTranslation();
  return (
    <Stack>
      {(Object.keys(searchParts) as SearchPart[]).map((part) => (
        <Fieldset key={part} legend={t(`group.part_${part}`)}>
          <SimpleGrid cols={{ base: 1, xs: 2, md: 3 }} spacing="sm">
            {searchParts[part].map((field) => <Field key={field} field={field} value={values[field]} onChange={(v) => onChange({ ...values, [field]: v })} />)}
          </SimpleGrid>
        </Fieldset>
      ))}
    </Stack>
  );
}

function Field({ field, value, onChange }: { field: SearchField; value: string; onChange: (v: string) => void }) {
  const { t } = useTranslation();
  const label = t(`group.search_${field}`);
  if (field === "unseen_days") {
    return <NumberInput label={label} value={value === "" ? "" : Number(value)} onChange={(v) => onChange(String(v))} min={0} max={3650} allowDecimal={false} hideControls />;
  }
  if (timeFields.has(field)) return <TextInput type="datetime-local" label={label} value={value} onChange={(e) => onChange(e.currentTarget.value)} />;
  const choices = { state: STATES.map((s) => ({ value: s as string, label: t(`devices.state_${s}`) })), os: plain(SYSTEMS), arch: plain(ARCHITECTURES) }[field as "state" | "os" | "arch"];
  const hint = field === "q" || field === "os_version" || field === "virtualisation" ? t(`group.hint_${field}`) : undefined;
  if (!choices) return <TextInput label={label} description={hint} inputWrapperOrder={["label", "input", "description"]} value={value} onChange={(e) => onChange(e.currentTarget.value)} maxLength={255} />;
  const listed = value && !choices.some((c) => c.value === value) ? [...choices, { value, label: value }] : choices;
  return <Select label={label} placeholder={t("common.any")} clearable clearButtonProps={{ "aria-label": t("common.clearChoice") }} data={listed} value={value || null} onChange={(v) => onChange(v ?? "")} />;
}

function plain(list: string[]) {
  return list.map((value) => ({ value, label: value }));
}
