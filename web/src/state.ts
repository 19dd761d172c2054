// What the states of deployments, devices and packages look like.

export const deploymentStates = [
  "assigned",
  "waiting",
  "accepted",
  "fetching",
  "fetched",
  "unpacked",
  "started",
  "succeeded",
  "failed",
  "refused",
  "expired",
  "interrupted",
  "not_applicable",
  "cancelled",
  "unassigned",
] as const;
export type DeploymentState = (typeof deploymentStates)[number];

export const deviceStates = ["pending", "active", "quarantined", "revoked", "removed"] as const;
/** isGone tells devices that have no agent of this server any more. */
export function isGone(deviceState: string): boolean {
  return deviceState === "revoked" || deviceState === "removed";
}

export const taskKinds = ["inventory", "uninstall", "update", "module", "remove"] as const;
export const taskStates = ["assigned", "accepted", "started", "waiting", "succeeded", "failed", "refused", "interrupted", "cancelled"] as const;

/** What became of one program that was to be uninstalled. */
export const itemStatuses = ["removed", "not_installed", "failed", "needed", "protected", "skipped", "unsupported"] as const;

export function itemColor(status: string): string {
  switch (status) {
    case "removed":
      return "teal";
    case "failed":
      return "red";
    case "needed":
    case "protected":
    case "unsupported":
      return "orange";
    default:
      return "gray";
  }
}

/** Which agent runs after an update. */
export const updateOutcomes = ["installed", "not_needed", "kept", "rolled_back"] as const;

export function updateColor(outcome: (typeof updateOutcomes)[number]): string {
  return { installed: "teal", not_needed: "gray", kept: "orange", rolled_back: "red" }[outcome];
}

export const eventKinds = [
  "first_inventory",
  "software_added",
  "software_removed",
  "software_updated",
  "hardware_added",
  "hardware_removed",
  "hardware_changed",
  "system_changed",
  "agent_updated",
  "disk_low",
  "disk_recovered",
  "device_silent",
  "device_back",
  "device_approved",
  "device_quarantined",
  "device_revoked",
] as const;

export function eventColor(kind: string): string {
  switch (kind) {
    case "disk_low":
    case "device_silent":
    case "device_quarantined":
    case "hardware_removed":
      return "orange";
    case "device_revoked":
      return "red";
    case "disk_recovered":
    case "device_back":
    case "device_approved":
      return "teal";
    case "first_inventory":
    case "agent_updated":
      return "blue";
    default:
      return "gray";
  }
}

export const packageStates = ["draft", "active", "retired"] as const;
export const outcomes = ["success", "reboot", "retry", "failure"] as const;
export const actions = ["launch", "execute", "store"] as const;

const finals = new Set(["succeeded", "failed", "refused", "expired", "interrupted", "not_applicable", "cancelled", "unassigned"]);

export function isFinal(state: string): boolean {
  return finals.has(state);
}

/** canRetry: final states and waiting ones get a new attempt; a running one is left alone. */
export function canRetry(state: string): boolean {
  return state === "waiting" || (isFinal(state) && state !== "unassigned");
}

export function color(state: string): string {
  switch (state) {
    case "succeeded":
    case "active":
    case "valid":
      return "teal";
    case "failed":
    case "refused":
    case "revoked":
      return "red";
    case "expired":
    case "interrupted":
    case "quarantined":
      return "orange";
    case "waiting":
    case "pending":
      return "yellow";
    case "accepted":
    case "fetching":
    case "fetched":
    case "unpacked":
    case "started":
      return "blue";
    default:
      return "gray";
  }
}
