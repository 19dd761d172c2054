import { describe, expect, it } from "vitest";
import { cellText, inOrder, moduleColumns, moduleOf, sectionColumns, title } from "./section";

const words = { yes: "Yes", no: "No", language: "en" };

describe("sectionColumns", () => {
  it("has the columns of a section that is known, without those that say nothing", () => {
    const rows = [{ key: "/", name: "/", device: "/dev/sda1", type: "ext4", bytes: 100, free_bytes: 0, free_percent: 0, read_only: false, remote: false, encrypted: true }];
    expect(sectionColumns("filesystems", rows)).toEqual([
      { field: "name", form: "text" },
      { field: "device", form: "text" },
      { field: "type", form: "text" },
      { field: "bytes", form: "bytes" },
      { field: "encrypted", form: "flag" },
    ]);
  });
  it("takes every field of a section that is not known, the name first, never the key", () => {
    const rows = [{ key: "a", speed: 3, name: "A" }, { key: "b", name: "B", tags: ["x"] }];
    expect(sectionColumns("fans", rows)).toEqual([
      { field: "name", form: "text" },
      { field: "speed", form: "text" },
      { field: "tags", form: "list" },
    ]);
  });
  it("keeps the name of a section without rows", () => expect(sectionColumns("monitors", [])).toEqual([{ field: "name", form: "text" }]));
});

describe("cellText", () => {
  it.each([
    [8 * 1024 ** 3, "bytes", "8 GiB"],
    [1234567, "number", "1,234,567"],
    [0.5, "number", "0.5"],
    ["many", "number", "many"],
    [3600, "mhz", "3,600 MHz"],
    [0, "mhz", ""],
    [1000, "mbps", "1,000 Mbit/s"],
    [40, "percent", "40 %"],
    [true, "flag", "Yes"],
    [false, "flag", "No"],
    [["10.0.0.1/8", "fe80::1/64"], "list", "10.0.0.1/8, fe80::1/64"],
    [{ a: 1 }, "text", '{"a":1}'],
    ["0001-01-01T00:00:00Z", "time", ""],
    [undefined, "text", ""],
    ["", "bytes", ""],
    ["many", "bytes", "many"],
    [0, "text", "0"],
  ] as const)("%s as %s is %s", (value, as, want) => expect(cellText(value, as, words)).toBe(want));
  it("tells a day without the time of day", () => expect(cellText("2026-11-21T12:00:00Z", "day", words)).toBe("Nov 21, 2026"));
});

describe("a module's section", () => {
  it("is told by its name", () => expect(["module-disk-health", "monitors"].map(moduleOf)).toEqual(["disk-health", undefined]));
  it("is shown by the types that its module gives, all columns in their order", () => {
    const columns = ["text", "integer", "number", "boolean", "time", "bytes", "colour"].map((type) => ({ name: `a_${type}`, title: type, type }));
    expect(moduleColumns(columns).map((c) => [c.field, c.form])).toEqual([
      ["name", "text"],
      ["a_text", "text"],
      ["a_integer", "number"],
      ["a_number", "number"],
      ["a_boolean", "flag"],
      ["a_time", "time"],
      ["a_bytes", "bytes"],
      ["a_colour", "text"],
    ]);
  });
});

it("orders sections as people look for them, strange ones last", () => {
  const names = ["zebra", "software", "cpus", "fans", "system"].map((name) => ({ name }));
  expect(inOrder(names).map((s) => s.name)).toEqual(["system", "cpus", "software", "fans", "zebra"]);
});

it("makes words of a name it does not know", () => expect(title("fan_speed")).toBe("Fan speed"));
