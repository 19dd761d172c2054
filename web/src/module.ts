// Modules from outside: which ones a device has.
import type { SectionInfo } from "./api/types";
import { moduleOf } from "./section";

const FACT = "module:";

export interface Module {
  name: string;
  /** What it has found, when it has ever run. */
  section?: SectionInfo;
  /** The device says that it has it now. */
  there: boolean;
}

/** modules are those that the device has, and those whose rows are still kept; by name. */
export function modules(known: readonly string[] | null | undefined, sections: readonly SectionInfo[]): Module[] {
  const found = new Map<string, Module>();
  for (const fact of known ?? []) {
    if (fact.startsWith(FACT)) found.set(fact.slice(FACT.length), { name: fact.slice(FACT.length), there: true });
  }
  for (const section of sections) {
    const name = moduleOf(section.name);
    if (name !== undefined) found.set(name, { name, there: found.has(name), section });
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
}

/** parametersOf reads what one has typed: nothing or a JSON object. */
export function parametersOf(text: string): { ok: true; value?: Record<string, unknown> } | { ok: false } {
  if (text.trim() === "") return { ok: true };
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ok: true, value: value as Record<string, unknown> } : { ok: false };
  } catch {
    return { ok: false };
  }
}
