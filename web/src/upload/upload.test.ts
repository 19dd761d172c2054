import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { ApiError, NetworkError } from "../api/error";
import type { Upload } from "../api/types";
import { fingerprint, uploadFile, type Memory, type Transport, type UploadStatus } from "./upload";

const CHUNK = 10;

/** FakeServer keeps the bytes it is sent, as the real one does, and fails as told. */
class FakeServer implements Transport {
  bytes = new Uint8Array();
  created = 0;
  patches: number[] = [];
  fail: ((n: number) => Error | undefined)[] = [];
  state: Upload["state"] = "open";
  constructor(readonly size: number) {}

  private answer(): Upload {
    return { id: "u1", file_name: "a.zip", size: this.size, offset: this.bytes.length, state: this.state, fragment_size: 1, created_at: "" };
  }
  create = async () => {
    this.created++;
    return this.answer();
  };
  get = async () => this.answer();
  patch = async (_id: string, offset: number, part: Blob, onSent: (n: number) => void) => {
    this.patches.push(offset);
    const err = this.fail.shift()?.(this.patches.length);
    if (err) throw err;
    if (offset !== this.bytes.length) throw new ApiError(409, { code: "conflict" });
    this.bytes = new Uint8Array([...this.bytes, ...new Uint8Array(await part.arrayBuffer())]);
    onSent(part.size);
    return this.answer();
  };
  finish = async (_id: string, digest: string) => {
    const want = createHash("sha256").update(this.bytes).digest("hex");
    if (digest !== want) throw new ApiError(422, { code: "untrusted", detail: "digest differs" });
    this.state = "finished";
    return this.answer();
  };
}

function memory(initial: Record<string, string> = {}): Memory & { kept: Map<string, string> } {
  const kept = new Map(Object.entries(initial));
  return { kept, get: (k) => kept.get(k) ?? null, set: (k, v) => void kept.set(k, v), remove: (k) => void kept.delete(k) };
}

function file(size: number): File {
  return new File([Uint8Array.from({ length: size }, (_, i) => i % 251)], "a.zip", { lastModified: 5 });
}

function run(server: Transport, f: File, extra: { memory?: Memory; signal?: AbortSignal; waits?: number[]; statuses?: UploadStatus[] } = {}) {
  return uploadFile(f, {
    transport: server,
    memory: extra.memory ?? memory(),
    signal: extra.signal ?? new AbortController().signal,
    chunk: CHUNK,
    onStatus: (s) => extra.statuses?.push(s),
    wait: async (ms) => void extra.waits?.push(ms),
  });
}

describe("uploadFile", () => {
  it("sends a file in chunks and finishes with its digest", async () => {
    const server = new FakeServer(25);
    const statuses: UploadStatus[] = [];
    const kept = memory();
    const upload = await run(server, file(25), { statuses, memory: kept });
    expect(upload.state).toBe("finished");
    expect(server.patches).toEqual([0, 10, 20]);
    expect(statuses.at(-1)).toEqual({ phase: "finished", sent: 25, size: 25, resumedAt: 0 });
    expect(kept.kept.size).toBe(0);
  });

  it("asks for the offset after a lost connection and goes on from there", async () => {
    const server = new FakeServer(25);
    server.fail = [() => undefined, () => new NetworkError(), () => new ApiError(503, {})];
    const waits: number[] = [];
    const upload = await run(server, file(25), { waits });
    expect(upload.state).toBe("finished");
    expect(server.patches).toEqual([0, 10, 10, 10, 20]);
    expect(waits).toEqual([1000, 2000]);
  });

  it("takes the server's offset when a chunk had arrived although its answer was lost", async () => {
    const server = new FakeServer(25);
    const patch = server.patch;
    server.patch = async (...args) => {
      const answer = await patch(...args);
      if (server.patches.length === 2) throw new NetworkError();
      return answer;
    };
    await run(server, file(25));
    expect(server.patches).toEqual([0, 10, 20]);
    expect(server.bytes).toHaveLength(25);
  });

  it("goes on without waiting when the server is at another offset", async () => {
    const server = new FakeServer(25);
    const waits: number[] = [];
    server.create = async () => ({ ...(await server.get()), offset: 10 });
    await run(server, file(25), { waits });
    expect(server.patches).toEqual([10, 0, 10, 20]);
    expect(waits).toEqual([]);
  });

  it("resumes the upload of the same file after a reload, hashing what was sent before", async () => {
    const server = new FakeServer(25);
    const f = file(25);
    server.bytes = new Uint8Array(await f.slice(0, 10).arrayBuffer());
    const statuses: UploadStatus[] = [];
    await run(server, f, { memory: memory({ [fingerprint(f)]: "u1" }), statuses });
    expect(server.created).toBe(0);
    expect(server.patches).toEqual([10, 20]);
    expect(statuses[0]).toMatchObject({ resumedAt: 10, sent: 10 });
  });

  it("begins anew when the server has forgotten the upload", async () => {
    const server = new FakeServer(5);
    server.get = async () => {
      throw new ApiError(404, { code: "not_found" });
    };
    const f = file(5);
    await run(server, f, { memory: memory({ [fingerprint(f)]: "gone" }) });
    expect(server.created).toBe(1);
  });

  it("asks again while the server looks into the archive", async () => {
    const server = new FakeServer(5);
    const finish = server.finish;
    let asked = 0;
    server.finish = async (...args) => {
      if (++asked < 3) throw new ApiError(503, { code: "unavailable" });
      return finish(...args);
    };
    const upload = await run(server, file(5));
    expect(upload.state).toBe("finished");
    expect(asked).toBe(3);
  });

  it("does not repeat a refusal", async () => {
    const server = new FakeServer(25);
    server.fail = [() => new ApiError(413, { code: "too_large", detail: "over the limit" })];
    await expect(run(server, file(25))).rejects.toThrow("over the limit");
    expect(server.patches).toEqual([0]);
  });

  it("gives up after many failures in a row, and keeps the id for a later try", async () => {
    const server = new FakeServer(25);
    server.fail = Array.from({ length: 20 }, () => () => new NetworkError());
    const kept = memory();
    await expect(run(server, file(25), { memory: kept })).rejects.toThrow(NetworkError);
    expect(server.patches).toHaveLength(9);
    expect([...kept.kept.values()]).toEqual(["u1"]);
  });

  it("stops at once when it is cancelled", async () => {
    const server = new FakeServer(25);
    const stop = new AbortController();
    const patch = server.patch;
    server.patch = async (...args) => {
      const answer = await patch(...args);
      stop.abort();
      return answer;
    };
    await expect(run(server, file(25), { signal: stop.signal })).rejects.toThrow();
    expect(server.patches).toEqual([0]);
  });
});
