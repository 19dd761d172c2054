// Log lines of devices: their levels, and what a device can be told to forward.

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

/** What a device forwards; "off" is nothing. */
export const forwardLevels = ["off", ...logLevels] as const;
export type ForwardLevel = (typeof forwardLevels)[number];

/** What one can say of a device; "groups" is to say nothing of it, so that its groups do. */
export const levelChoices = ["groups", ...forwardLevels] as const;
export type LevelChoice = (typeof levelChoices)[number];

/** Who writes lines: the resident process, and the kinds of task. */
export const logTasks = ["core", "inventory", "deploy", "uninstall", "update", "remove", "module"] as const;

export interface LogSetting {
  level: ForwardLevel;
  until?: string | null;
  after?: ForwardLevel;
}

/** levelAt is what holds at a time: a level that was set for a while gives way to the one after it. */
export function levelAt(s: LogSetting, now: number): { level: ForwardLevel; until?: string; after?: ForwardLevel } {
  const end = s.until ? Date.parse(s.until) : NaN;
  if (Number.isNaN(end)) return { level: s.level };
  return now < end ? { level: s.level, until: s.until!, after: s.after ?? "off" } : { level: s.after ?? "off" };
}
