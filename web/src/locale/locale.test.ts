import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import de from "./de.json";
import en from "./en.json";

type Tree = { [key: string]: string | Tree };

function flat(tree: Tree, prefix = ""): Map<string, string> {
  const out = new Map<string, string>();
  for (const [k, v] of Object.entries(tree)) {
    if (typeof v === "string") out.set(prefix + k, v);
    else for (const [k2, v2] of flat(v, `${prefix}${k}.`)) out.set(k2, v2);
  }
  return out;
}

const holes = (text: string) => (text.match(/\{\{\w+\}\}/g) ?? []).sort();

describe("German", () => {
  const [english, german] = [flat(en), flat(de)];
  it("has exactly the texts that English has", () => expect([...german.keys()].sort()).toEqual([...english.keys()].sort()));
  it("names the same values in each", () => {
    for (const [key, text] of english) expect(holes(german.get(key) ?? ""), key).toEqual(holes(text));
  });
});

it("every English text is used", () => {
  const root = path.resolve(import.meta.dirname, "..");
  const source = readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((f) => /\.tsx?$/.test(f) && !f.endsWith(".test.ts"))
    .map((f) => readFileSync(path.join(root, f), "utf8"))
    .join("\n");
  // Keys that end in a value's name are put together: state.${s}, outcome_${o}.
  const composed = [/^state\./, /_[a-z]+$/, /\.\w*Missing$/, /^newPackage\.(needArchive|waitUpload)$/, /^device\.(pending|quarantined)(Title|Text)$/];
  const unused = [...flat(en).keys()].filter((k) => !source.includes(`"${k}"`) && !composed.some((c) => c.test(k)));
  expect(unused).toEqual([]);
});
