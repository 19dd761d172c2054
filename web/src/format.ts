// Figures and times in words. Pure functions of their arguments and the given language.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(n: number | undefined, language = "en"): string {
  if (n === undefined || !Number.isFinite(n)) return "–";
  let value = Math.max(0, n);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value)} ${UNITS[unit]}`;
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 30],
  ["month", 12],
  ["year", Infinity],
];

/** relative says "5 minutes ago" or "in 2 hours". */
export function relative(time: string, now: number, language = "en"): string {
  const at = Date.parse(time);
  if (Number.isNaN(at)) return "–";
  let amount = (at - now) / 1000;
  if (Math.abs(amount) < 5) amount = 0;
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  for (const [unit, size] of STEPS) {
    if (Math.abs(amount) < size) return format.format(Math.round(amount), unit);
    amount /= size;
  }
  return "–";
}

export function absolute(time: string | undefined, language = "en"): string {
  const at = time ? Date.parse(time) : NaN;
  if (Number.isNaN(at)) return "–";
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" }).format(at);
}

/** day says a date without the time of day. */
export function day(time: string | undefined, language = "en"): string {
  const at = time ? Date.parse(time) : NaN;
  if (Number.isNaN(at)) return "–";
  return new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(at);
}

/**
 * dayStart is when a day of this computer's calendar begins that stands as "2026-11-21" in a date field,
 * or the day so many days later; undefined for what is no date.
 */
export function dayStart(date: string, later = 0): string | undefined {
  const m = /^(\d{4})-(\d{2})-(\d{2})$/.exec(date);
  if (!m) return undefined;
  return new Date(Number(m[1]), Number(m[2]) - 1, Number(m[3]) + later).toISOString();
}

/** stamp is a time to the millisecond, of this computer's calendar, every one as wide as the next. */
export function stamp(time: string): string {
  const d = new Date(time);
  if (Number.isNaN(d.getTime())) return "–";
  const two = (n: number, width = 2) => String(n).padStart(width, "0");
  const date = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  return `${date} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${two(d.getMilliseconds(), 3)}`;
}

/** localTime reads what stands in a date and time field, "2026-11-21T08:30"; undefined for what is no time. */
export function localTime(text: string): string | undefined {
  const d = new Date(text);
  return text === "" || Number.isNaN(d.getTime()) ? undefined : d.toISOString();
}

/** isSet tells a time from Go's zero time, which some encoders write for "none". */
export function isSet(time: string | null | undefined): time is string {
  return !!time && !time.startsWith("0001-");
}

/** span says how long something took: "0.4 s", "12 s", "3 min 5 s", "1 h 2 min". */
export function span(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return "";
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  const [h, m] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60)];
  if (h > 0) return m > 0 ? `${h} h ${m} min` : `${h} h`;
  return s % 60 > 0 ? `${m} min ${s % 60} s` : `${m} min`;
}

/** commandLine shows an argument vector for people: quoted where a word would be read as several. */
export function commandLine(argv: string[]): string {
  return argv.map((a) => (a !== "" && /^[\w@%+=:,./\\-]+$/.test(a) ? a : `"${a.replaceAll('"', '\\"')}"`)).join(" ");
}

const ARCHIVE = /\.(zip|tar\.gz|tgz)$/i;

/** nameAndVersion reads "hello-tool_1.2.0.tar.gz" as name "hello-tool" and version "1.2.0". */
export function nameAndVersion(fileName: string): { name: string; version: string } {
  const base = fileName.replace(ARCHIVE, "");
  const m = /^(.+?)[-_ ]v?(\d+(?:\.\d+)*(?:[-+.~]?[A-Za-z0-9.]+)?)$/.exec(base);
  return m ? { name: m[1]!, version: m[2]! } : { name: base, version: "" };
}
