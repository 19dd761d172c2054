import { defineConfig } from "@playwright/test";

// Debian's Chromium; as root, which containers often are, it runs only without its sandbox.
const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];

export default defineConfig({
  testDir: "e2e",
  // Ends what hangs; a loaded machine takes minutes for what takes one elsewhere.
  timeout: 900_000,
  expect: { timeout: 60_000 },
  workers: 1,
  forbidOnly: !!process.env.CI,
  reporter: "list",
  use: {
    browserName: "chromium",
    launchOptions: { executablePath: process.env.MUSTER_CHROMIUM ?? "/usr/bin/chromium", args },
    locale: "en-GB",
    actionTimeout: 60_000,
    // Without its film, which costs a quarter of the time; every step's page is kept.
    trace: { mode: "retain-on-failure", screenshots: false, snapshots: true, sources: true },
  },
});
