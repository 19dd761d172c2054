import { describe, expect, it } from "vitest";
import { program, tasksAddress, uninstallRequests } from "./software";

describe("program", () => {
  it.each([
    ["pkg:deb/debian/curl@7.88.1-10?arch=amd64", { name: "curl", version: "7.88.1-10", arch: "amd64" }],
    ["pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64", { name: "libstdc++6", version: "12.2.0-14+deb12u1", arch: "amd64" }],
    ["pkg:npm/%40angular/cli@17.0.0", { name: "cli", version: "17.0.0", arch: "" }],
    ["pkg:generic/thing", { name: "thing", version: "", arch: "" }],
    ["pkg:deb/debian/bad%zz@1", { name: "pkg:deb/debian/bad%zz@1", version: "", arch: "" }],
    ["{GUID-1}", { name: "{GUID-1}", version: "", arch: "" }],
  ])("%s", (key, want) => expect(program(key)).toEqual(want));
});

describe("uninstallRequests", () => {
  it("asks devices with the same programs together", () => {
    const chosen = [
      { device_id: "a", key: "x" },
      { device_id: "b", key: "y" },
      { device_id: "b", key: "x" },
      { device_id: "a", key: "y" },
    ];
    expect(uninstallRequests(chosen)).toEqual([{ device_ids: ["a", "b"], software: ["x", "y"] }]);
  });
  it("never asks a device for a program that was chosen on another only", () => {
    const chosen = [
      { device_id: "a", key: "x@1" },
      { device_id: "b", key: "x@2" },
    ];
    expect(uninstallRequests(chosen)).toEqual([
      { device_ids: ["a"], software: ["x@1"] },
      { device_ids: ["b"], software: ["x@2"] },
    ]);
  });
  it("asks for nothing when nothing is chosen", () => expect(uninstallRequests([])).toEqual([]));
});

describe("tasksAddress", () => {
  it("is the one task", () => expect(tasksAddress([{ batch_id: "b", tasks: [{ id: "t" }] }])).toBe("/tasks/t"));
  it("is those of one batch", () => expect(tasksAddress([{ batch_id: "b", tasks: [{ id: "t" }, { id: "u" }] }])).toBe("/tasks?batch_id=b"));
  it("is all that is open otherwise", () =>
    expect(tasksAddress([{ batch_id: "b", tasks: [{ id: "t" }] }, { batch_id: "c", tasks: [{ id: "u" }] }])).toBe("/tasks?kind=uninstall&open=true"));
});
