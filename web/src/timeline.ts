import type { TimelineEntry } from "./api/types";
import { isFinal } from "./state";
import { span } from "./format";

export interface Step extends TimelineEntry {
  /** Since the step before it in the same attempt, when worth telling. */
  took: string;
  /** The newest step of a deployment that goes on: what it does now. */
  current: boolean;
}

export interface Attempt {
  number: number;
  steps: Step[];
}

/**
 * attempts puts a timeline in order, the newest attempt first and its steps in the order they
 * happened. Order is the server's sequence, never the clock of a device, which may be wrong; a time
 * that goes backwards therefore yields no duration.
 */
export function attempts(entries: readonly TimelineEntry[]): Attempt[] {
  const ordered = [...entries].sort((a, b) => a.seq - b.seq);
  const last = ordered[ordered.length - 1];
  const byNumber = new Map<number, Attempt>();
  for (const entry of ordered) {
    let attempt = byNumber.get(entry.attempt);
    if (!attempt) {
      attempt = { number: entry.attempt, steps: [] };
      byNumber.set(entry.attempt, attempt);
    }
    const before = attempt.steps[attempt.steps.length - 1];
    const ms = before ? Date.parse(entry.time) - Date.parse(before.time) : 0;
    attempt.steps.push({ ...entry, took: ms >= 100 ? span(ms) : "", current: entry === last && !isFinal(entry.state) });
  }
  return [...byNumber.values()].sort((a, b) => b.number - a.number);
}

/** lastOutput is the newest output that any attempt has left. */
export function lastOutput(entries: readonly TimelineEntry[]): string | undefined {
  const ordered = [...entries].sort((a, b) => b.seq - a.seq);
  return ordered.find((e) => e.output)?.output;
}

/** reasonShown is the reason code where admins look it up; elsewhere the message has said it in words. */
export function reasonShown(step: Pick<TimelineEntry, "state" | "reason">): string | undefined {
  const coded = step.state === "refused" || step.state === "failed" || step.state === "interrupted";
  return coded && step.reason !== "exit_code" ? step.reason : undefined;
}
