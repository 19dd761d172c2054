import { expect, it } from "vitest";
import { disks, share } from "./overview";

it("shows what can fill up, each device once by its shortest place", () => {
  const rows = [
    { name: "/var/lib/docker", device: "/dev/sda1", bytes: 1000, free_bytes: 400 },
    { name: "/", device: "/dev/sda1", bytes: 1000, free_bytes: 400 },
    { name: "/data", device: "/dev/sdb1", bytes: 1000, free_bytes: 99 },
    { name: "/mnt/nfs", device: "host:/x", bytes: 1000, free_bytes: 1, remote: true },
    { name: "/cdrom", device: "/dev/sr0", bytes: 1000, free_bytes: 0, read_only: true },
    { name: "/odd", device: "odd", bytes: 0, free_bytes: 0 },
    { name: "/strange", device: "strange", bytes: "many" },
  ];
  expect(disks(rows)).toEqual([
    { mount: "/", bytes: 1000, free: 400, usedPercent: 60, low: false },
    { mount: "/data", bytes: 1000, free: 99, usedPercent: 90.1, low: true },
  ]);
});

it("says what part of a core the agent took", () => {
  expect(share({ cpu_ms: 1500, since: "2026-11-21T12:00:00Z", reported_at: "2026-11-21T13:00:00Z" })).toBe("0.042%");
  expect(share({ cpu_ms: 10, since: "2026-11-21T12:00:00Z", reported_at: "2026-11-21T12:00:05Z" })).toBe("");
});
