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

export const deviceStates = ["pending", "active", "quarantined", "revoked"] as const;
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
