import AxeBuilder from "@axe-core/playwright";
import { expect, type Page } from "@playwright/test";
import { mkdir } from "node:fs/promises";
import path from "node:path";

// MUSTER_SCREENSHOTS names a folder for pictures of every page; without it none are taken.
const folder = process.env.MUSTER_SCREENSHOTS;

const WIDE = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
// The dark look has the same elements as the light one: only what colours decide can differ.
const COLOURS = ["color-contrast", "link-in-text-block"];
const looks = [
  { name: "light", size: WIDE, scheme: "light" },
  { name: "dark", size: WIDE, scheme: "dark" },
  { name: "phone", size: PHONE, scheme: "light" },
] as const;

/**
 * look checks one page as it stands, in both themes and at phone width: nothing that axe finds, and
 * nothing wider than the screen.
 */
export async function look(page: Page, name: string): Promise<void> {
  for (const l of looks) {
    await page.setViewportSize(l.size);
    await page.emulateMedia({ colorScheme: l.scheme, reducedMotion: "reduce" });
    await expect(page.locator("html")).toHaveAttribute("data-mantine-color-scheme", l.scheme);
    // A toast fades in: half transparent it has no contrast yet, and it is not what is looked at.
    await expect(page.locator(".mantine-Notification-root")).toHaveCount(0);
    // Colours may still be on their way from one theme to the other: what stays is what counts.
    await expect(async () => {
      // Legacy only means that no second page is opened for each look, which takes longer than the look itself: it
      // is for frames of other origins, and there are none.
      const axe = new AxeBuilder({ page }).options({ resultTypes: ["violations"] }).setLegacyMode();
      const found = await (l.name === "dark" ? axe.withRules(COLOURS) : axe).analyze();
      expect(found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`), `axe, ${name} ${l.name}`).toEqual([]);
    }).toPass({ timeout: 60_000 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(over, `${name} ${l.name} is wider than the screen`).toBeLessThanOrEqual(0);
    if (folder) {
      await mkdir(folder, { recursive: true });
      await page.screenshot({ path: path.join(folder, `${name}-${l.name}.png`), fullPage: true });
    }
  }
  await page.setViewportSize(WIDE);
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
}
