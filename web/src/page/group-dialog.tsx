import { Alert, Button, Group as Row, List, Modal, Radio, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useNavigate } from "react-router";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Group } from "../api/types";
import { notifyDone, ProblemAlert } from "../component/problem";
import { SearchForm } from "../component/search-form";
import { noSearch, searchOf, valuesOf, type Search } from "../group";

/** So many of the devices that a search finds are named before it is saved. */
const NAMED = 5;

/** GroupDialog makes a group, or changes one. */
export function GroupDialog({ group, opened, onClose }: { group?: Group; opened: boolean; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Modal opened={opened} onClose={onClose} title={group ? t("group.editTitle", { name: group.name }) : t("group.create")} size="xl" closeButtonProps={{ "aria-label": t("common.close") }}>
      <Form group={group} onClose={onClose} />
    </Modal>
  );
}

function Form({ group, onClose }: { group?: Group; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [name, setName] = useState(group?.name ?? "");
  const [description, setDescription] = useState(group?.description ?? "");
  const [kind, setKind] = useState<Group["kind"]>(group?.kind ?? "static");
  const [values, setValues] = useState(() => (group ? valuesOf(group.search) : noSearch));
  const [missing, setMissing] = useState(false);
  const search = searchOf(values);
  const save = useMutation({
    mutationFn: () => {
      const body = { name: name.trim(), description, ...(kind === "search" ? { search } : {}) };
      return group ? api.changeGroup(group.id, body) : api.createGroup(body);
    },
    onSuccess: (saved) => {
      notifyDone(group ? t("group.changed", { name: saved.name }) : t("group.created", { name: saved.name }));
      onClose();
      if (!group) void navigate(`/groups/${saved.id}`);
    },
    onSettled: () => {
      for (const stale of ["groups", "devices"]) void client.invalidateQueries({ queryKey: [stale] });
    },
  });
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (name.trim() === "") setMissing(true);
        else save.mutate();
      }}
    >
      <Stack>
        <ProblemAlert error={save.error} />
        <TextInput
          label={t("common.name")}
          value={name}
          onChange={(e) => {
            setName(e.currentTarget.value);
            setMissing(false);
          }}
          error={missing && t("group.nameMissing")}
          maxLength={120}
          data-autofocus
        />
        <Textarea label={t("group.description")} value={description} onChange={(e) => setDescription(e.currentTarget.value)} maxLength={500} autosize minRows={1} maxRows={4} />
        {!group && (
          <Radio.Group label={t("group.kind")} value={kind} onChange={(v) => setKind(v === "search" ? "search" : "static")}>
            <Stack gap="xs" mt={4}>
              <Radio value="static" label={t("group.kind_static")} description={t("group.staticHint")} />
              <Radio value="search" label={t("group.kind_search")} description={t("group.savedHint")} />
            </Stack>
          </Radio.Group>
        )}
        {kind === "search" && (
          <>
            <Text size="sm">{t("group.searchText")}</Text>
            <SearchForm values={values} onChange={setValues} />
            <Preview search={search} />
          </>
        )}
        <Row justify="flex-end">
          <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
          <Button type="submit" loading={save.isPending}>{group ? t("common.save") : t("group.create")}</Button>
        </Row>
      </Stack>
    </form>
  );
}

/** Preview counts, while one types, whom the search finds at present. */
function Preview({ search }: { search: Search }) {
  const { t } = useTranslation();
  const [asked] = useDebouncedValue(JSON.stringify(search), 300);
  const preview = useQuery({
    queryKey: keys.list("groups", "preview", asked),
    queryFn: () => api.previewGroup(JSON.parse(asked) as Search, NAMED),
    placeholderData: keepPreviousData,
  });
  if (preview.error) return <ProblemAlert error={preview.error} />;
  if (!preview.data) return null;
  const { count, devices } = preview.data;
  return (
    <Alert color={count > 0 ? "teal" : "yellow"} role="status" title={t("group.found", { count })}>
      {asked === "{}" && <Text size="sm">{t("group.everyDevice")}</Text>}
      {devices.length > 0 && (
        <List size="sm">
          {devices.map((d) => <List.Item key={d.device_id} className="breakable">{d.hostname || d.device_id}</List.Item>)}
          {count > devices.length && <List.Item>{t("group.andMore", { count: count - devices.length })}</List.Item>}
        </List>
      )}
    </Alert>
  );
}
