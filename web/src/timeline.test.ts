import { describe, expect, it } from "vitest";
import type { TimelineEntry } from "./api/types";
import { canRetry, deploymentStates, isFinal } from "./state";
import { attempts, lastOutput, reasonShown } from "./timeline";

const entry = (seq: number, attempt: number, state: string, time: string, more: Partial<TimelineEntry> = {}): TimelineEntry => ({
  seq,
  attempt,
  state,
  time: `2026-11-21T12:${time}Z`,
  received_at: `2026-11-21T12:${time}Z`,
  source: "device",
  message: "",
  ...more,
});

describe("attempts", () => {
  it("orders by sequence, not by clock, newest attempt first", () => {
    const got = attempts([
      entry(4, 2, "accepted", "05:00"),
      entry(1, 1, "assigned", "00:00"),
      entry(3, 1, "failed", "00:10"),
      entry(2, 1, "started", "00:40"),
    ]);
    expect(got.map((a) => [a.number, a.steps.map((s) => s.state)])).toEqual([
      [2, ["accepted"]],
      [1, ["assigned", "started", "failed"]],
    ]);
  });

  it("tells how long each step took, within an attempt only, and nothing for a clock that went back", () => {
    const [second, first] = attempts([
      entry(1, 1, "assigned", "00:00"),
      entry(2, 1, "started", "00:40"),
      entry(3, 1, "failed", "00:10"),
      entry(4, 2, "accepted", "05:00"),
    ]);
    expect(first!.steps.map((s) => s.took)).toEqual(["", "40 s", ""]);
    expect(second!.steps[0]!.took).toBe("");
  });

  it("marks the newest step of a running deployment as current, and none of an ended one", () => {
    const running = attempts([entry(1, 1, "assigned", "00:00"), entry(2, 1, "started", "00:01")]);
    expect(running[0]!.steps.map((s) => s.current)).toEqual([false, true]);
    const ended = attempts([entry(1, 1, "assigned", "00:00"), entry(2, 1, "succeeded", "00:01")]);
    expect(ended[0]!.steps.some((s) => s.current)).toBe(false);
  });

  it("takes an empty timeline", () => expect(attempts([])).toEqual([]));
});

it("finds the newest output", () => {
  const entries = [entry(1, 1, "failed", "00:00", { output: "old" }), entry(2, 2, "failed", "00:01", { output: "new" }), entry(3, 3, "assigned", "00:02")];
  expect(lastOutput(entries)).toBe("new");
  expect(lastOutput([entry(1, 1, "assigned", "00:00")])).toBeUndefined();
});

it("offers a new attempt only where none is under way", () => {
  expect(deploymentStates.filter(canRetry)).toEqual([
    "waiting",
    "succeeded",
    "failed",
    "refused",
    "expired",
    "interrupted",
    "not_applicable",
    "cancelled",
  ]);
  expect(deploymentStates.filter((s) => !isFinal(s))).toHaveLength(7);
});

describe("reasons", () => {
  it("shows a reason code only where it is looked up", () => {
    expect(reasonShown({ state: "refused", reason: "older_serial" })).toBe("older_serial");
    expect(reasonShown({ state: "failed", reason: "exit_code" })).toBeUndefined();
    expect(reasonShown({ state: "waiting", reason: "held_by_priority_0" })).toBeUndefined();
  });
});
