import { describe, expect, it } from "vitest";
import { noSearch, searchOf, valuesOf } from "./group";

describe("a saved search", () => {
  const time = new Date(2026, 10, 21, 8, 30).toISOString();
  const search = { os: "linux", os_version: "12", unseen_days: 30, software: "openssh-server", software_below: "9.2", enrolled_after: time };

  it("is the same after it has stood in the form", () => expect(searchOf(valuesOf(search))).toEqual(search));
  it("leaves out what is empty, blank or no number of days", () => {
    expect(searchOf({ ...noSearch, q: "  ", unseen_days: "0" })).toEqual({});
    expect(searchOf({ ...noSearch, q: " lab ", unseen_days: "1.5", seen_before: "soon" })).toEqual({ q: "lab" });
  });
  it("fills no field with Go's zero values", () => expect(valuesOf({ q: "", unseen_days: 0, seen_after: "0001-01-01T00:00:00Z" })).toEqual(noSearch));
  it("may be none at all", () => expect(valuesOf(null)).toEqual(noSearch));
});
