// How the sections of an inventory are shown: which columns, in which words, in which form. A section or
// a field that this page does not know is shown as it came.
import { absolute, bytes, day, isSet } from "./format";

export type Form = "text" | "number" | "bytes" | "time" | "day" | "flag" | "list" | "mhz" | "mbps" | "mwh" | "percent" | "mm";

export interface SectionColumn {
  field: string;
  form: Form;
  /** A module's own word for the field. */
  title?: string;
}

export type Row = Record<string, unknown>;

/** How fields are shown that are no plain text, whatever section they stand in. */
const forms: Record<string, Form> = {
  bytes: "bytes",
  free_bytes: "bytes",
  memory_bytes: "bytes",
  swap_bytes: "bytes",
  size_bytes: "bytes",
  rss: "bytes",
  mhz: "mhz",
  mbps: "mbps",
  design_mwh: "mwh",
  full_mwh: "mwh",
  health_percent: "percent",
  free_percent: "percent",
  width_mm: "mm",
  height_mm: "mm",
  booted_at: "time",
  installed_at: "day",
  since: "time",
  started: "time",
};

/** The columns of each section that this page knows, the most telling first; one row is shown whole. */
const columns: Record<string, string[]> = {
  cpus: ["name", "vendor", "cores", "threads", "mhz"],
  memory: ["name", "bytes", "type", "mhz", "manufacturer", "part_number", "serial"],
  storage: ["device", "model", "bytes", "type", "interface", "serial", "firmware"],
  filesystems: ["name", "device", "type", "bytes", "free_bytes", "free_percent", "read_only", "remote", "encrypted"],
  interfaces: ["name", "type", "up", "addresses", "mac", "mbps", "driver"],
  controllers: ["name", "class", "vendor", "bus", "driver"],
  monitors: ["name", "manufacturer", "serial", "resolution", "year", "connector"],
  batteries: ["name", "manufacturer", "full_mwh", "design_mwh", "health_percent", "cycles"],
  users: ["name", "real_name", "uid", "home", "groups", "admin", "locked"],
  sessions: ["name", "terminal", "from", "since"],
  software: ["name", "version", "publisher", "source", "size_bytes", "installed_at"],
  processes: ["name", "pid", "user", "command", "rss", "started"],
};

/** A field of a module's rows, as the module describes it. */
export interface TypedColumn {
  name: string;
  title?: string;
  type: string;
}

/** How a module's fields are shown, by the type that it gives them. */
const typed: Record<string, Form> = { integer: "number", number: "number", boolean: "flag", time: "time", bytes: "bytes" };

const MODULE = "module-";

/** moduleOf is the module from outside that fills a section; undefined for the agent's own. */
export function moduleOf(section: string): string | undefined {
  return section.startsWith(MODULE) ? section.slice(MODULE.length) : undefined;
}

/** moduleColumns are all that a module has described, in its order, after the name of the row. */
export function moduleColumns(columns: readonly TypedColumn[]): SectionColumn[] {
  return [{ field: "name", form: "text" }, ...columns.map((c): SectionColumn => ({ field: c.name, title: c.title, form: typed[c.type] ?? "text" }))];
}

/** Sections of one row, shown as a list of facts. */
export const single: ReadonlySet<string> = new Set(["system", "bios"]);

/** The order in which people look for them; unknown ones come after, by name. */
const order = ["system", "bios", "cpus", "memory", "storage", "filesystems", "interfaces", "controllers", "monitors", "batteries", "users", "sessions", "software", "processes"];

export function inOrder<T extends { name: string }>(sections: readonly T[]): T[] {
  const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return [...sections].sort((a, b) => place(a.name) - place(b.name) || a.name.localeCompare(b.name));
}

function form(field: string, value: unknown): Form {
  const known = forms[field];
  if (known) return known;
  if (typeof value === "boolean") return "flag";
  return Array.isArray(value) ? "list" : "text";
}

/** sectionColumns are a known section's own, else all fields of its rows, the name first. */
export function sectionColumns(section: string, rows: readonly Row[]): SectionColumn[] {
  const fields = columns[section] ?? [...new Set(["name", ...rows.flatMap((r) => Object.keys(r))])].filter((f) => f !== "key");
  return fields
    .map((field) => ({ field, form: form(field, rows.find((r) => r[field] !== undefined && r[field] !== null)?.[field]) }))
    .filter(({ field }) => field === "name" || rows.some((r) => !isEmpty(r[field])));
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === "" || value === 0 || value === false || (Array.isArray(value) && value.length === 0);
}

export interface Words {
  yes: string;
  no: string;
  language: string;
}

/** cellText puts a value in words; "" stands for nothing. */
export function cellText(value: unknown, as: Form, words: Words): string {
  if (value === undefined || value === null || value === "") return "";
  if (typeof value === "boolean") return value ? words.yes : words.no;
  const number = (unit: string) => (typeof value === "number" && value > 0 ? `${new Intl.NumberFormat(words.language).format(value)} ${unit}` : "");
  switch (as) {
    case "number":
      return typeof value === "number" ? new Intl.NumberFormat(words.language, { maximumFractionDigits: 6 }).format(value) : plain(value);
    case "bytes":
      return typeof value === "number" ? bytes(value, words.language) : plain(value);
    case "time":
      return typeof value === "string" && isSet(value) ? absolute(value, words.language) : "";
    case "day":
      return typeof value === "string" && isSet(value) ? day(value, words.language) : "";
    case "mhz":
      return number("MHz");
    case "mbps":
      return number("Mbit/s");
    case "mwh":
      return number("mWh");
    case "mm":
      return number("mm");
    case "percent":
      return typeof value === "number" ? `${value} %` : plain(value);
    default:
      return plain(value);
  }
}

function plain(value: unknown): string {
  if (Array.isArray(value)) return value.map(plain).join(", ");
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

/** title makes a readable word of a name that this page has no word for: "fan_speed" is "Fan speed". */
export function title(name: string): string {
  const words = name.replaceAll(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
