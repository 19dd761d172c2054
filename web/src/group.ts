// Saved searches of groups: what the form holds, and what the server keeps of it.
import type { Group } from "./api/types";
import { isSet, localTime, stamp } from "./format";

/** The fields of a search, in the parts of the form in which they stand together. */
export const searchParts = {
  system: ["q", "state", "os", "os_name", "os_version", "arch"],
  computer: ["manufacturer", "product", "virtualisation"],
  agent: ["agent_version", "agent_below"],
  software: ["software", "software_version", "software_below"],
  time: ["unseen_days", "seen_after", "seen_before", "enrolled_after", "enrolled_before"],
} as const;

export type SearchPart = keyof typeof searchParts;
export type SearchField = (typeof searchParts)[SearchPart][number];
export const searchFields: readonly SearchField[] = Object.values(searchParts).flat();

export const timeFields: ReadonlySet<SearchField> = new Set(["seen_after", "seen_before", "enrolled_after", "enrolled_before"]);

/** What stands in the form: every field as text, empty for "any". */
export type SearchValues = Record<SearchField, string>;

/** What the server keeps: only the fields that say something. */
export type Search = NonNullable<Group["search"]>;

export const noSearch: SearchValues = Object.fromEntries(searchFields.map((f) => [f, ""])) as SearchValues;

/** searchOf is what the form says. */
export function searchOf(values: SearchValues): Search {
  const out: Record<string, string | number> = {};
  for (const field of searchFields) {
    const text = values[field].trim();
    if (text === "") continue;
    if (field === "unseen_days") {
      const days = Number(text);
      if (Number.isInteger(days) && days > 0) out[field] = days;
    } else if (timeFields.has(field)) {
      const time = localTime(text);
      if (time) out[field] = time;
    } else {
      out[field] = text;
    }
  }
  return out as Search;
}

/** valuesOf fills the form with a search that is kept. */
export function valuesOf(search: Search | null | undefined): SearchValues {
  const values = { ...noSearch };
  for (const field of searchFields) {
    const v = search?.[field];
    if (v === undefined || v === null || v === "" || v === 0) continue;
    if (!timeFields.has(field)) values[field] = String(v);
    else if (isSet(String(v))) values[field] = stamp(String(v)).slice(0, "2026-11-21 08:30".length).replace(" ", "T");
  }
  return values;
}
