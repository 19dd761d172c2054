import { describe, expect, it } from "vitest";
import type { SectionInfo } from "./api/types";
import { modules, parametersOf } from "./module";

const section = (name: string) => ({ name, rows: 1, named_at: "2026-11-21T08:00:00Z" }) as SectionInfo;

describe("modules", () => {
  it("are those that the device has and those that have left rows", () => {
    const found = modules(["deploy", "module:printer", "module:disk-health"], [section("cpus"), section("module-disk-health"), section("module-gone")]);
    expect(found.map((m) => [m.name, m.there, m.section?.name])).toEqual([
      ["disk-health", true, "module-disk-health"],
      ["gone", false, "module-gone"],
      ["printer", true, undefined],
    ]);
  });
  it("are none for a device that has told nothing", () => expect(modules(null, [])).toEqual([]));
});

describe("parametersOf", () => {
  it.each(["", "  \n"])("%j asks for none", (text) => expect(parametersOf(text)).toEqual({ ok: true }));
  it("reads an object", () => expect(parametersOf(' {"deep": true} ')).toEqual({ ok: true, value: { deep: true } }));
  it.each(["[1]", "null", "3", '"deep"', "{deep: true}", "{"])("%s is no object", (text) => expect(parametersOf(text)).toEqual({ ok: false }));
});
