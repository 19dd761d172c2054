import { describe, expect, it } from "vitest";
import { levelAt } from "./log";
import { localTime, stamp } from "./format";

describe("levelAt", () => {
  const until = "2026-11-21T16:00:00Z";
  const end = Date.parse(until);
  const setting = { level: "debug", until, after: "warn" } as const;
  it("is the level that was set for a while", () => expect(levelAt(setting, end - 1)).toEqual({ level: "debug", until, after: "warn" }));
  it("is the one after it when that has ended", () => expect(levelAt(setting, end)).toEqual({ level: "warn" }));
  it("is off when nothing comes after", () => expect(levelAt({ level: "info", until }, end).level).toBe("off"));
  it("stays without an end", () => expect(levelAt({ level: "info", until: null }, end)).toEqual({ level: "info" }));
});

it("a stamp is this computer's time of day, sorted as text", () => {
  expect(stamp(new Date(2026, 0, 2, 3, 4, 5, 6).toISOString())).toBe("2026-01-02 03:04:05.006");
  expect(stamp("nonsense")).toBe("–");
});

describe("localTime", () => {
  it("reads a date and time field as this computer's time", () => expect(localTime("2026-11-21T08:30")).toBe(new Date(2026, 10, 21, 8, 30).toISOString()));
  it.each(["", "soon"])("%j is no time", (text) => expect(localTime(text)).toBeUndefined());
});
