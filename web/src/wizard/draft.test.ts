import { describe, expect, it } from "vitest";
import type { Upload } from "../api/types";
import { emptyDraft, isAbsolute, likelyLaunchFile, missing, toSpec, type Draft } from "./draft";

const upload: Upload = { id: "u1", file_name: "a.tar.gz", size: 3, offset: 3, state: "finished", fragment_size: 1, created_at: "" };
const draft = (d: Partial<Draft>): Draft => ({ ...emptyDraft, name: "hello", version: "1.0", upload, ...d });

describe("toSpec", () => {
  it("says only what is not as usual", () => {
    expect(toSpec(draft({ launchFile: "install.sh" }))).toEqual({
      name: "hello",
      version: "1.0",
      priority: 5,
      action: "launch",
      upload_id: "u1",
      command: ["install.sh"],
      time_limit_seconds: 600,
    });
  });

  it("passes arguments exactly as written, empty and blank ones included", () => {
    const spec = toSpec(draft({ action: "execute", program: " /bin/sh ", args: ["-c", 'echo "a  b"', ""] }));
    expect(spec.command).toEqual(["/bin/sh", "-c", 'echo "a  b"', ""]);
  });

  it("stores without a command, its limit or its exit codes", () => {
    const spec = toSpec(draft({ action: "store", storePath: "/opt/app", args: ["x"], exitCodes: [{ code: 1, outcome: "success" }], rerunSafe: true }));
    expect(spec).toEqual({ name: "hello", version: "1.0", priority: 5, action: "store", upload_id: "u1", store_path: "/opt/app" });
  });

  it("carries every optional field", () => {
    expect(
      toSpec(
        draft({
          launchFile: "x",
          detect: "file",
          filePath: "/etc/x",
          fileDigest: "AB",
          exitCodes: [{ code: 3, outcome: "retry" }],
          os: ["linux"],
          attempts: 3,
          delayMinutes: 0.5,
          rerunSafe: true,
          cleanBoot: true,
          private: true,
          minutes: 1.5,
          env: [
            { name: "A", value: "1" },
            { name: " ", value: "lost" },
          ],
        }),
      ),
    ).toMatchObject({
      detect: { file: { path: "/etc/x", sha256: "ab" } },
      exit_codes: [{ code: 3, outcome: "retry" }],
      requires: { os: ["linux"] },
      retry: { attempts: 3, delay_seconds: 30 },
      rerun: "safe",
      needs_clean_boot: true,
      private: true,
      time_limit_seconds: 90,
      env: { A: "1" },
    });
  });

  it("leaves attempts out at priority 0, which is tried until it succeeds", () => {
    expect(toSpec(draft({ launchFile: "x", priority: 0, attempts: 3 }))).not.toHaveProperty("retry");
  });
});

describe("missing", () => {
  it.each<[Parameters<typeof missing>[0], Partial<Draft>, object]>([
    ["archive", { upload: undefined }, { upload: "needArchive" }],
    ["archive", { upload: undefined, uploading: true }, { upload: "waitUpload" }],
    ["archive", { upload: undefined, withoutArchive: true }, {}],
    ["action", { action: "launch" }, { launchFile: "launchFileMissing" }],
    ["action", { action: "execute", program: "  " }, { program: "programMissing" }],
    ["action", { action: "store", storePath: "opt/app" }, { storePath: "storePathMissing" }],
    ["action", { action: "store", storePath: "C:\\Tools" }, {}],
    ["details", { name: "", version: "" }, { name: "nameMissing", version: "versionMissing" }],
    ["details", { detect: "software" }, { detect: "detectMissing" }],
    ["details", { detect: "command", detectCommand: ["test", "-f", "/x"] }, {}],
    ["review", {}, {}],
  ])("%s %o", (step, d, want) => expect(missing(step, draft(d))).toEqual(want));
});

it.each([
  ["/opt", true],
  ["C:/x", true],
  ["\\\\srv\\share", true],
  ["opt", false],
  ["", false],
])("%s absolute: %s", (path, want) => expect(isAbsolute(path)).toBe(want));

describe("likelyLaunchFile", () => {
  it.each([
    [[{ name: "docs/install.txt" }, { name: "app/install.sh" }, { name: "install.sh", executable: true }], "install.sh"],
    [[{ name: "d", dir: true }, { name: "only.bin" }], "only.bin"],
    [[{ name: "readme.md" }, { name: "tool", executable: true }], "tool"],
    [[{ name: "a.txt" }, { name: "b.txt" }], ""],
    [[], ""],
  ])("%j → %s", (entries, want) => expect(likelyLaunchFile(entries)).toBe(want));
});
