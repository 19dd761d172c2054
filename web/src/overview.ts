// Figures of a device's overview.
import type { Footprint } from "./api/types";
import type { Row } from "./section";

export interface DiskSpace {
  mount: string;
  bytes: number;
  free: number;
  usedPercent: number;
  /** Less than a tenth is free. */
  low: boolean;
}

const LOW = 0.1;

/** disks are the file systems that can fill up, each device once: not read-only ones nor those of other computers. */
export function disks(rows: readonly Row[]): DiskSpace[] {
  const seen = new Set<unknown>();
  const list: DiskSpace[] = [];
  for (const r of [...rows].sort((a, b) => String(a.name).length - String(b.name).length)) {
    const { bytes, free_bytes: free } = r;
    if (r.read_only === true || r.remote === true || typeof bytes !== "number" || typeof free !== "number" || bytes <= 0) continue;
    if (r.device && seen.has(r.device)) continue;
    seen.add(r.device);
    list.push({ mount: String(r.name), bytes, free, usedPercent: Math.min(100, Math.max(0, 100 - (100 * free) / bytes)), low: free < bytes * LOW });
  }
  return list;
}

/** The start costs more than what follows: before this time a share says nothing. */
const SHARE_FROM_MS = 10 * 60_000;

/** share is the part of one processor that the agent took while it ran; "" as long as that says nothing. */
export function share(f: Pick<Footprint, "cpu_ms" | "since" | "reported_at">, language = "en"): string {
  const ran = Date.parse(f.reported_at) - Date.parse(f.since);
  if (!(ran >= SHARE_FROM_MS)) return "";
  return new Intl.NumberFormat(language, { style: "percent", maximumSignificantDigits: 2 }).format(f.cpu_ms / ran);
}
