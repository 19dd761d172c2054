import type { Deployment, Package } from "./api/types";

/** How a package's signature stands, judged by the trust document of today. */
export type Signature = "none" | "collecting" | "good" | "refused" | "revoked";

export function signatureOf(p: Pick<Package, "signed" | "refusal" | "partial">): Signature {
  if (p.refusal === "revoked") return "revoked";
  if (p.signed && !p.refusal) return "good";
  if (p.partial) return "collecting";
  return p.refusal ? "refused" : "none";
}

/** signCommand is what an author runs; the archive is the author's own file. */
export function signCommand(p: Pick<Package, "id" | "archive">): string {
  return `muster package sign --key FILE ${p.archive ? "--archive FILE " : ""}${p.id}`;
}

const signatureReasons = ["signature_invalid", "below_threshold", "key_role", "sign_again", "older_serial"];

/** mustSignAgain says whether a new signature is what a deployment needs to go on. */
export function mustSignAgain(d: Pick<Deployment, "state" | "reason">): boolean {
  return (d.state === "refused" || d.state === "waiting") && signatureReasons.includes(d.reason ?? "");
}
