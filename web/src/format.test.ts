import { describe, expect, it } from "vitest";
import { bytes, commandLine, dayStart, isSet, nameAndVersion, relative, span } from "./format";

const now = Date.parse("2026-11-21T12:00:00Z");

describe("bytes", () => {
  it.each([
    [0, "0 B"],
    [1023, "1,023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [8 << 20, "8 MiB"],
    [5.25 * 1024 ** 3, "5.3 GiB"],
    [undefined, "–"],
  ])("%s → %s", (n, want) => expect(bytes(n)).toBe(want));
  it("follows the language", () => expect(bytes(1536, "de")).toBe("1,5 KiB"));
});

describe("relative", () => {
  it.each([
    ["2026-11-21T12:00:02Z", "now"],
    ["2026-11-21T11:59:20Z", "40 seconds ago"],
    ["2026-11-21T11:55:00Z", "5 minutes ago"],
    ["2026-11-21T14:00:00Z", "in 2 hours"],
    ["2026-11-20T12:00:00Z", "yesterday"],
    ["2024-10-01T12:00:00Z", "2 years ago"],
    ["nonsense", "–"],
  ])("%s → %s", (time, want) => expect(relative(time, now)).toBe(want));
});

describe("span", () => {
  it.each([
    [400, "0.4 s"],
    [12_000, "12 s"],
    [185_000, "3 min 5 s"],
    [180_000, "3 min"],
    [3_720_000, "1 h 2 min"],
    [-5, ""],
  ])("%s → %s", (ms, want) => expect(span(ms)).toBe(want));
});

it("shows an argument vector unambiguously", () => {
  expect(commandLine(["/bin/sh", "-c", 'echo "hi there"', ""])).toBe('/bin/sh -c "echo \\"hi there\\"" ""');
});

it.each([
  ["hello-1.2.tar.gz", "hello", "1.2"],
  ["hello-tool_1.2.0-rc1.zip", "hello-tool", "1.2.0-rc1"],
  ["7zip.zip", "7zip", ""],
  ["app-v3.tgz", "app", "3"],
])("reads name and version of %s", (file, name, version) => {
  expect(nameAndVersion(file)).toEqual({ name, version });
});

it("knows Go's zero time", () => {
  expect(isSet("0001-01-01T00:00:00Z")).toBe(false);
  expect(isSet("")).toBe(false);
  expect(isSet("2026-01-01T00:00:00Z")).toBe(true);
});

describe("dayStart", () => {
  it("is midnight here, and of the day after", () => {
    expect(dayStart("2026-11-21")).toBe(new Date(2026, 10, 21).toISOString());
    expect(dayStart("2026-12-31", 1)).toBe(new Date(2027, 0, 1).toISOString());
  });
  it.each(["", "yesterday", "2026-1-1"])("%s is no date", (text) => expect(dayStart(text)).toBeUndefined());
});
