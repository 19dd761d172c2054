// From an empty server to an exit code, with nothing but the page and the agent.
import { expect, test, type Page } from "@playwright/test";
import { writeFile } from "node:fs/promises";
import { look } from "./look";
import { System } from "./system";
import { tarGz } from "./tar";

const SCRIPT = '#!/bin/sh\necho "Hello, $1"\necho "<b>not bold</b>"\n';

const MODULE = {
  parameters: { type: "object", properties: { who: { type: "string" } }, additionalProperties: false },
  columns: [
    { name: "size", title: "Room", type: "bytes" },
    { name: "polite", title: "Polite", type: "boolean" },
  ],
};
const MODULE_SCRIPT = `#!/bin/sh
read -r input
who=$(printf '%s' "$input" | sed -n 's/.*"who":"\\([^"]*\\)".*/\\1/p')
echo '{"row":{"key":"1","name":"'"$who"'","size":1536,"polite":true}}' >&3
`;

let system: System;

test.beforeAll(async () => {
  system = await System.start();
});

test.afterAll(async () => {
  await system?.stop();
});

test.afterEach(async ({}, info) => {
  if (info.status === info.expectedStatus) return;
  const log = info.outputPath("programs.log");
  await writeFile(log, system.output());
  await info.attach("programs", { path: log, contentType: "text/plain" });
});

test("from sign-in to exit code", async ({ page }) => {
  const errors: string[] = [];
  page.on("pageerror", (err) => errors.push(err.message));
  page.on("console", (m) => {
    // The first question, who is signed in, is answered 401: nobody.
    if (m.type() === "error" && !m.text().includes("401")) errors.push(m.text());
  });

  await test.step("sign in", () => signIn(page));
  await test.step("empty pages say what to do next", () => emptyPages(page));
  await test.step("add a device", () => addDevice(page));
  await test.step("see its inventory and software", () => inventory(page));
  await test.step("follow its log", () => log(page));
  await test.step("run a module of its own", () => runModule(page));
  await test.step("find it by a group", () => group(page));
  await test.step("create a package", () => createPackage(page));
  await test.step("assign it and see how it ends", () => assign(page));
  await test.step("look at every other page", () => lookAround(page));
  await test.step("sign out", async () => {
    await page.getByRole("button", { name: /^Account/ }).click();
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await expect(page.getByRole("heading", { name: "Sign in to Muster" })).toBeVisible();
  });
  expect(errors).toEqual([]);
});

async function signIn(page: Page): Promise<void> {
  await page.goto(system.url);
  await expect(page.getByText("muster-server admin reset-password")).toBeVisible();
  await look(page, "sign-in");
  await page.getByLabel("User name").fill("admin");
  await page.getByLabel("Password", { exact: true }).fill("wrong password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByText("User name or password is wrong.")).toBeVisible();
  await page.getByLabel("Password", { exact: true }).fill(system.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { name: "Devices", level: 1 })).toBeVisible();
  await expect(page.getByText("● Live")).toBeVisible();
}

async function emptyPages(page: Page): Promise<void> {
  await expect(page.getByText("No devices yet")).toBeVisible();
  await look(page, "devices-empty");
  for (const [link, text] of [
    ["Packages", "No packages yet"],
    ["Deployments", "No deployments yet"],
    ["Assignments", "No assignments yet"],
    ["Groups", "No groups yet"],
    ["Agent releases", "No releases yet"],
    ["Logs", "No lines yet"],
  ] as const) {
    await page.getByRole("link", { name: link, exact: true }).click();
    await expect(page.getByText(text)).toBeVisible();
  }
}

async function addDevice(page: Page): Promise<void> {
  await page.getByRole("link", { name: "Devices", exact: true }).click();
  await page.getByRole("button", { name: "Add device" }).first().click();
  await expect(page.getByLabel("Name of the token")).toBeVisible();
  await look(page, "add-device");
  await page.getByRole("button", { name: "Create token" }).click();
  const command = page.getByRole("region", { name: "Enrollment command" });
  await expect(command).toContainText("muster-agent enroll MUSTER1-");
  await look(page, "add-device-command");
  await system.enroll(await command.innerText());
  await expect(page.getByText(/has joined\./)).toBeVisible();
  await system.addModule("greeter", MODULE, MODULE_SCRIPT);
  system.runAgent();
  await page.getByRole("link", { name: /^Open / }).click();
  await expect(page.getByText("Machine ID")).toBeVisible();
  await expect(page.getByText("Connected", { exact: true })).toBeVisible();
  await expect(page.getByText("Active", { exact: true })).toBeVisible();
  await look(page, "device");
}

async function inventory(page: Page): Promise<void> {
  // The agent sends an inventory right after it has joined; the page hears of it.
  await page.getByRole("tab", { name: "Inventory" }).click();
  const system = page.getByRole("button", { name: /^File systems/ });
  await expect(system).toBeVisible({ timeout: 60_000 });
  await system.click();
  await expect(page.getByRole("table", { name: "File systems" }).getByRole("row").nth(1)).toBeVisible();
  await look(page, "device-inventory");

  await page.getByRole("tab", { name: "Software" }).click();
  const search = page.getByLabel("Search software");
  await search.fill("dpkg");
  const row = page.getByRole("row").filter({ has: page.getByRole("link", { name: "dpkg", exact: true }) });
  await expect(row).toBeVisible({ timeout: 60_000 });
  await expect(row.getByRole("checkbox", { name: "Select dpkg" })).toBeDisabled();
  await search.fill("");
  await page.getByRole("checkbox", { name: /^Select /, disabled: false }).first().check();
  await expect(page.getByText("1 program chosen")).toBeVisible();
  // What is chosen stays so while one searches on.
  await search.fill("dpkg");
  await expect(row).toBeVisible();
  await expect(page.getByText("1 program chosen")).toBeVisible();
  await look(page, "device-software");
  // This is the machine that runs the test: nothing is uninstalled here.
  await page.getByRole("button", { name: "Uninstall…" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog.getByText("Stop at the first failure")).toBeVisible();
  await look(page, "uninstall");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await expect(dialog).toBeHidden();

  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("menuitem", { name: "Remove agent" }).click();
  await expect(dialog.getByRole("button", { name: "Remove agent" })).toBeDisabled();
  await look(page, "remove-agent");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await expect(dialog).toBeHidden();

  await page.getByRole("button", { name: "Inventory now" }).click();
  await page.getByRole("tab", { name: "Tasks" }).click();
  const task = page.getByRole("table", { name: "Tasks" }).getByRole("row").nth(1);
  await expect(task.getByText("Succeeded", { exact: true })).toBeVisible({ timeout: 60_000 });
  await look(page, "device-tasks");
  await task.getByRole("link").click();
  await expect(page.getByTestId("summary")).toHaveText("succeeded: the inventory is here");
  await look(page, "task");

  await page.getByRole("link", { name: "Software", exact: true }).click();
  await search.fill("dpkg");
  await expect(page).toHaveURL(/\/software\?q=dpkg$/);
  await expect(page.getByRole("table", { name: "Software" }).getByRole("row").nth(1)).toContainText("dpkg");
  await look(page, "software");
  await page.getByRole("link", { name: "dpkg", exact: true }).click();
  await expect(page.getByRole("heading", { name: "dpkg", level: 1 })).toBeVisible();
  await expect(page.getByRole("table", { name: "On these devices" }).getByRole("row")).toHaveCount(2);
  await look(page, "software-title");
}

async function log(page: Page): Promise<void> {
  await page.getByRole("link", { name: "Devices", exact: true }).click();
  await page.getByRole("table", { name: "Devices" }).getByRole("link").first().click();
  await page.getByRole("tab", { name: "Log" }).click();
  await expect(page.getByText("Sends no lines")).toBeVisible();
  await page.getByRole("button", { name: "Change level" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Level").selectOption("Debug");
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("Sends lines from level Debug up")).toBeVisible();
  // The switch stands in the page's address: it turns when the page has got there.
  const live = page.getByRole("switch", { name: "Live tail" });
  await live.click();
  await expect(live).toBeChecked();
  await expect(page.getByText("as the device writes them")).toBeVisible();
  // Lines of what the device is asked to do appear by themselves.
  await page.getByRole("button", { name: "Inventory now" }).click();
  const lines = page.getByRole("list", { name: "Logs" }).getByRole("listitem");
  await expect(lines.filter({ hasText: "inventory" }).first()).toBeVisible({ timeout: 60_000 });
  await live.click();
  await expect(live).not.toBeChecked();
  await expect(lines.filter({ hasText: "inventory" }).first()).toBeVisible();
  await look(page, "device-log");
}

async function runModule(page: Page): Promise<void> {
  await page.getByRole("tab", { name: "Modules" }).click();
  await page.getByRole("button", { name: "Run now: greeter" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Parameters").fill("you");
  await expect(dialog.getByRole("button", { name: "Run now" })).toBeDisabled();
  await dialog.getByLabel("Parameters").fill('{"who": "<b>you</b>"}');
  await dialog.getByRole("button", { name: "Run now" }).click();
  await expect(page.getByTestId("summary")).toHaveText("succeeded: the module has run", { timeout: 60_000 });
  await page.getByRole("link", { name: "greeter" }).click();
  const row = page.getByRole("table", { name: "greeter" }).getByRole("row").nth(1);
  await expect(row).toContainText("<b>you</b>");
  await expect(row).toContainText("1.5 KiB");
  await expect(row).toContainText("Yes");
  await look(page, "device-modules");
}

async function group(page: Page): Promise<void> {
  await page.getByRole("link", { name: "Groups", exact: true }).click();
  await page.getByRole("button", { name: "New group" }).first().click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill("Linux machines");
  await dialog.getByRole("radio", { name: "Saved search" }).check();
  await expect(dialog.getByText("1 device matches at present")).toBeVisible();
  await dialog.getByLabel("Agent version").fill("no such version");
  await expect(dialog.getByText("No device matches at present")).toBeVisible();
  await dialog.getByLabel("Agent version").fill("");
  await dialog.getByRole("combobox", { name: "System family" }).click();
  await page.getByRole("option", { name: "linux" }).click();
  await expect(dialog.getByText("1 device matches at present")).toBeVisible();
  await look(page, "group-new");
  await dialog.getByRole("button", { name: "New group" }).click();
  await expect(page.getByRole("heading", { name: "Linux machines", level: 1 })).toBeVisible();
  await page.getByRole("button", { name: "Change settings" }).click();
  await dialog.getByLabel("Log").selectOption("Log from Warning up");
  await dialog.getByRole("button", { name: "Save" }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByText("Log from Warning up")).toBeVisible();
  await look(page, "group");
  await page.getByRole("table", { name: "Members" }).getByRole("link").first().click();
  await expect(page.getByRole("link", { name: "Linux machines" })).toBeVisible();
}

async function createPackage(page: Page): Promise<void> {
  await page.getByRole("link", { name: "Packages", exact: true }).click();
  await page.getByRole("link", { name: "New package" }).first().click();
  await page.locator("input[type=file]").setInputFiles({ name: "greeting-1.2.tar.gz", mimeType: "application/gzip", buffer: tarGz({ "install.sh": SCRIPT, "docs/readme.txt": "hi\n" }) });
  await expect(page.getByText(/entries, checked/)).toBeVisible();
  await look(page, "new-package-archive");
  await page.getByRole("button", { name: "Next" }).click();

  await expect(page.getByRole("combobox", { name: "File to run" })).toHaveValue("install.sh");
  await page.getByRole("button", { name: "Add argument" }).click();
  await page.getByLabel("Argument 1", { exact: true }).fill("dear device");
  await look(page, "new-package-action");
  await page.getByRole("button", { name: "Next" }).click();

  await expect(page.getByLabel("Name", { exact: true })).toHaveValue("greeting");
  await expect(page.getByLabel("Version", { exact: true })).toHaveValue("1.2");
  await look(page, "new-package-details");
  await page.getByRole("button", { name: "Next" }).click();

  await expect(page.getByText('install.sh "dear device"')).toBeVisible();
  await look(page, "new-package-review");
  await page.getByRole("button", { name: "Create, sign and activate" }).click();
  await expect(page.getByRole("heading", { name: "greeting 1.2", level: 1 })).toBeVisible();
  await expect(page.getByText("this server's own key")).toBeVisible();
  await look(page, "package");
}

async function assign(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Assign" }).first().click();
  await page.getByRole("checkbox", { name: /^Select / }).check();
  await expect(page.getByText("1 device chosen")).toBeVisible();
  await look(page, "assign");
  await page.getByRole("dialog").getByRole("button", { name: "Assign" }).click();
  await expect(page.getByText("Assigned to 1 device.")).toBeVisible();

  // Nothing is loaded again by hand from here: the page hears of every step.
  const row = page.getByRole("table", { name: "Deployments" }).getByRole("row").nth(1);
  await expect(row.getByText("Succeeded", { exact: true })).toBeVisible({ timeout: 60_000 });
  await expect(row.getByText("exit code 0", { exact: true })).toBeVisible();
  await row.getByRole("link").first().click();
  await expect(page.getByTestId("summary")).toHaveText("succeeded (exit code 0)");
  const output = page.getByRole("region", { name: "End of the command's output" });
  await expect(output).toContainText("Hello, dear device");
  await expect(output).toContainText("<b>not bold</b>");
  for (const state of ["Assigned", "Accepted", "Started", "Succeeded"]) {
    await expect(page.getByRole("region", { name: /^Attempt 1/ }).getByText(state, { exact: true })).toBeVisible();
  }
  await look(page, "deployment");
}

async function lookAround(page: Page): Promise<void> {
  for (const [link, name] of [
    ["Devices", "devices"],
    ["Packages", "packages"],
    ["Deployments", "deployments"],
    ["Assignments", "assignments"],
    ["Tasks", "tasks"],
    ["Events", "events"],
    ["Logs", "logs"],
    ["Groups", "groups"],
    ["Agent releases", "releases"],
    ["Enrollment tokens", "enrollment-tokens"],
    ["API tokens", "api-tokens"],
    ["Trust", "trust"],
    ["Audit log", "audit"],
  ] as const) {
    await page.getByRole("link", { name: link, exact: true }).first().click();
    await expect(page.getByRole("heading", { name: link, level: 1 })).toBeVisible();
    await page.waitForLoadState("networkidle");
    await look(page, name);
  }
  await page.getByRole("link", { name: "Trust", exact: true }).click();
  await expect(page.getByText("This server can sign packages itself")).toBeVisible();
}
