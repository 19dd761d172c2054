// Programs on devices: what their keys say, and how a choice of them becomes requests.
import type { Installed } from "./api/types";

/** How many programs and devices one request may name. */
export const MOST_SOFTWARE = 100;
export const MOST_DEVICES = 1000;

/**
 * program reads name, version and architecture from a key, "pkg:deb/debian/curl@7.88.1-10?arch=amd64"
 * (https://github.com/package-url/purl-spec). A key of any other form is its own name.
 */
export function program(key: string): { name: string; version: string; arch: string } {
  const m = /^pkg:[^/]+\/([^@?#]+)(?:@([^?#]*))?(?:\?([^#]*))?/.exec(key);
  if (!m) return { name: key, version: "", arch: "" };
  try {
    const path = m[1]!.replace(/\/+$/, "");
    const name = decodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
    return { name: name || key, version: decodeURIComponent(m[2] ?? ""), arch: new URLSearchParams(m[3]).get("arch") ?? "" };
  } catch {
    return { name: key, version: "", arch: "" };
  }
}

export type Choice = Pick<Installed, "device_id" | "key">;

export interface UninstallRequest {
  device_ids: string[];
  software: string[];
}

/**
 * uninstallRequests groups what is chosen so that each device is asked for exactly its own programs: the
 * server takes devices times programs, and a device may have reported one that was chosen on another only.
 */
export function uninstallRequests(chosen: readonly Choice[]): UninstallRequest[] {
  const keys = new Map<string, Set<string>>();
  for (const c of chosen) keys.set(c.device_id, (keys.get(c.device_id) ?? new Set()).add(c.key));
  const groups = new Map<string, UninstallRequest>();
  for (const [device, set] of keys) {
    const software = [...set].sort();
    const id = JSON.stringify(software);
    const group = groups.get(id);
    if (group) group.device_ids.push(device);
    else groups.set(id, { device_ids: [device], software });
  }
  return [...groups.values()];
}

/** tasksAddress is the page on which one follows what was asked for. */
export function tasksAddress(made: readonly { batch_id: string; tasks: readonly { id: string }[] }[]): string {
  const tasks = made.flatMap((m) => m.tasks);
  if (tasks.length === 1) return `/tasks/${tasks[0]!.id}`;
  return made.length === 1 ? `/tasks?batch_id=${made[0]!.batch_id}` : "/tasks?kind=uninstall&open=true";
}
