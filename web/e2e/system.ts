// Starts the real programs for a browser test: a server on free loopback ports with its own data, and
// agents that enroll with it. Everything ends with the test, by process id.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const bin = process.env.MUSTER_BIN ?? path.resolve(import.meta.dirname, "../../bin");
const DEADLINE_MS = 60_000;
const POLL_MS = 100;

export class System {
  readonly dir: string;
  readonly url: string;
  password = "";
  private readonly children: ChildProcess[] = [];
  private log = "";

  private constructor(dir: string, private readonly tls: number, http: number) {
    this.dir = dir;
    this.url = `http://localhost:${http}`;
  }

  static async start(): Promise<System> {
    const dir = await mkdtemp(path.join(tmpdir(), "muster-browser-"));
    const s = new System(dir, await freePort(), await freePort());
    const password = path.join(dir, "password");
    const server = s.spawn("muster-server", ["serve", "--data", path.join(dir, "server"), "--listen", `127.0.0.1:${s.tls}`, "--http", new URL(s.url).host, "--admin-password-file", password]);
    try {
      await s.until("the server is ready", async () => {
        if (server.exitCode !== null) throw new Error(`the server ended: ${s.log}`);
        const res = await fetch(`${s.url}/readyz`).catch(() => undefined);
        return res?.ok ?? false;
      });
      await s.until("the first password is there", async () => {
        s.password = (await readFile(password, "utf8").catch(() => "")).trim();
        return s.password !== "";
      });
    } catch (err) {
      await s.stop();
      throw err;
    }
    return s;
  }

  /** enroll joins a device by the command that the page shows. */
  async enroll(command: string): Promise<void> {
    const [program, verb, enrollment] = command.trim().split(/\s+/);
    if (program !== "muster-agent" || verb !== "enroll" || !enrollment) throw new Error(`not an enroll command: ${command}`);
    await run(path.join(bin, program), [verb, "--data", this.agentData, enrollment], { timeout: DEADLINE_MS });
  }

  /** addModule gives the device, once it has joined, a module: a script and what it says of itself. */
  async addModule(name: string, manifest: object, script: string): Promise<void> {
    const folder = path.join(this.agentData, "modules", name);
    await mkdir(folder, { recursive: true, mode: 0o755 });
    await writeFile(path.join(folder, "run.sh"), script, { mode: 0o755 });
    await writeFile(path.join(folder, "module.json"), JSON.stringify({ name, version: "1.0", command: ["run.sh"], ...manifest }));
  }

  runAgent(): void {
    this.spawn("muster-agent", ["run", "--data", this.agentData]);
  }

  async stop(): Promise<void> {
    for (const child of this.children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(force);
    }
    await rm(this.dir, { recursive: true, force: true });
  }

  /** output is what the programs have written, for the message of a failing test. */
  output(): string {
    return this.log;
  }

  private get agentData(): string {
    return path.join(this.dir, "agent");
  }

  private spawn(program: string, args: string[]): ChildProcess {
    const child = spawn(path.join(bin, program), args, { stdio: ["ignore", "pipe", "pipe"] });
    const keep = (data: Buffer) => {
      this.log = (this.log + data.toString()).slice(-64_000);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (err) => keep(Buffer.from(`${program}: ${err.message}\n`)));
    this.children.push(child);
    return child;
  }

  private async until(what: string, done: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + DEADLINE_MS;
    while (!(await done())) {
      if (Date.now() > deadline) throw new Error(`waited in vain: ${what}\n${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => (address && typeof address === "object" ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}
