import type { Action, Detection, ExitCode, PackageSpec, Upload } from "../api/types";

/** Draft is what the wizard's fields hold; toSpec makes the request of it. */
export interface Draft {
  upload?: Upload;
  /** A file was chosen and is on its way. */
  uploading: boolean;
  withoutArchive: boolean;
  action: Action;
  launchFile: string;
  program: string;
  args: string[];
  storePath: string;
  name: string;
  version: string;
  priority: number;
  minutes: number;
  detect: "none" | "software" | "file" | "command";
  softwareName: string;
  softwareVersion: string;
  filePath: string;
  fileDigest: string;
  detectCommand: string[];
  exitCodes: ExitCode[];
  os: string[];
  arch: string[];
  attempts: number;
  delayMinutes: number;
  rerunSafe: boolean;
  cleanBoot: boolean;
  private: boolean;
  env: { name: string; value: string }[];
}

export const emptyDraft: Draft = {
  uploading: false,
  withoutArchive: false,
  action: "launch",
  launchFile: "",
  program: "",
  args: [],
  storePath: "",
  name: "",
  version: "",
  priority: 5,
  minutes: 10,
  detect: "none",
  softwareName: "",
  softwareVersion: "",
  filePath: "",
  fileDigest: "",
  detectCommand: [""],
  exitCodes: [],
  os: [],
  arch: [],
  attempts: 1,
  delayMinutes: 5,
  rerunSafe: false,
  cleanBoot: false,
  private: false,
  env: [],
};

export const STEPS = ["archive", "action", "details", "review"] as const;
export type StepName = (typeof STEPS)[number];

/** What is missing, by field; the words are in the locale files under newPackage. */
export type Missing = Partial<
  Record<
    keyof Draft,
    "needArchive" | "waitUpload" | "launchFileMissing" | "programMissing" | "storePathMissing" | "nameMissing" | "versionMissing" | "detectMissing"
  >
>;

/** missing says what a step still needs. The server checks all of it again, and more. */
export function missing(step: StepName, d: Draft): Missing {
  switch (step) {
    case "archive":
      if (d.upload || d.withoutArchive) return {};
      return { upload: d.uploading ? "waitUpload" : "needArchive" };
    case "action":
      if (d.action === "launch") return d.launchFile.trim() ? {} : { launchFile: "launchFileMissing" };
      if (d.action === "execute") return d.program.trim() ? {} : { program: "programMissing" };
      return isAbsolute(d.storePath) ? {} : { storePath: "storePathMissing" };
    case "details":
      return {
        ...(d.name.trim() ? {} : { name: "nameMissing" as const }),
        ...(d.version.trim() ? {} : { version: "versionMissing" as const }),
        ...(d.detect === "none" || detection(d) ? {} : { detect: "detectMissing" as const }),
      };
    default:
      return {};
  }
}

/** isAbsolute on any device: /opt/app, C:\Tools, \\server\share. */
export function isAbsolute(path: string): boolean {
  return /^(\/|[A-Za-z]:[\\/]|\\\\)/.test(path.trim());
}

function detection(d: Draft): Detection | undefined {
  switch (d.detect) {
    case "software":
      if (!d.softwareName.trim()) return undefined;
      return { software: { name: d.softwareName.trim(), ...(d.softwareVersion.trim() ? { version: d.softwareVersion.trim() } : {}) } };
    case "file":
      if (!d.filePath.trim()) return undefined;
      return { file: { path: d.filePath.trim(), ...(d.fileDigest.trim() ? { sha256: d.fileDigest.trim().toLowerCase() } : {}) } };
    case "command":
      return d.detectCommand[0]?.trim() ? { command: d.detectCommand } : undefined;
    default:
      return undefined;
  }
}

export function command(d: Draft): string[] {
  if (d.action === "launch") return [d.launchFile.trim(), ...d.args];
  if (d.action === "execute") return [d.program.trim(), ...d.args];
  return [];
}

/** toSpec leaves out whatever is as usual, so that the signed instruction says only what matters. */
export function toSpec(d: Draft): PackageSpec {
  const runs = d.action !== "store";
  const env = Object.fromEntries(d.env.filter((e) => e.name.trim()).map((e) => [e.name.trim(), e.value]));
  const requires = { ...(d.os.length ? { os: d.os } : {}), ...(d.arch.length ? { arch: d.arch } : {}) };
  const detect = detection(d);
  return {
    name: d.name.trim(),
    version: d.version.trim(),
    priority: d.priority,
    action: d.action,
    ...(d.upload ? { upload_id: d.upload.id } : {}),
    ...(runs ? { command: command(d) } : { store_path: d.storePath.trim() }),
    ...(runs ? { time_limit_seconds: Math.round(d.minutes * 60) } : {}),
    ...(detect ? { detect } : {}),
    ...(runs && d.exitCodes.length ? { exit_codes: d.exitCodes } : {}),
    ...(Object.keys(requires).length ? { requires } : {}),
    ...(d.attempts > 1 && d.priority > 0 ? { retry: { attempts: d.attempts, delay_seconds: Math.round(d.delayMinutes * 60) } } : {}),
    ...(runs && d.rerunSafe ? { rerun: "safe" as const } : {}),
    ...(runs && Object.keys(env).length ? { env } : {}),
    ...(d.cleanBoot ? { needs_clean_boot: true } : {}),
    ...(d.private ? { private: true } : {}),
  };
}

/** likelyLaunchFile guesses the file that starts an installation: the nearest to the top wins. */
export function likelyLaunchFile(entries: { name: string; dir?: boolean; executable?: boolean }[]): string {
  const files = entries.filter((e) => !e.dir);
  const rank = (e: { name: string; executable?: boolean }) => {
    const base = e.name.split("/").pop()!.toLowerCase();
    const named = /^(install|setup|run|start)(\.(sh|exe|msi|cmd|bat|ps1))?$/.test(base) ? 0 : 2;
    const runnable = e.executable || /\.(sh|exe|cmd|bat)$/.test(base) ? 0 : 4;
    return named + runnable + e.name.split("/").length / 100;
  };
  const best = [...files].sort((a, b) => rank(a) - rank(b))[0];
  return best && (files.length === 1 || rank(best) < 4) ? best.name : "";
}
