import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { ApiError, worthRetrying } from "../api/error";
import type { Upload } from "../api/types";

/** Bytes sent by one PATCH. */
export const CHUNK = 8 << 20;
/** Bytes hashed before the page gets its turn again. */
const HASH_STEP = 1 << 20;
const MAX_FAILURES = 8;
/** The server answers within a minute, done or not: half an hour of looking into an archive. */
const MAX_CHECKS = 30;

/** Transport is what an upload needs of the server; tests stand in for it. */
export interface Transport {
  create(fileName: string, size: number): Promise<Upload>;
  get(id: string, signal?: AbortSignal): Promise<Upload>;
  patch(id: string, offset: number, part: Blob, onSent: (bytes: number) => void, signal?: AbortSignal): Promise<Upload>;
  finish(id: string, sha256: string): Promise<Upload>;
}

/** Memory keeps the id of an unfinished upload, so that the same file goes on after a reload. */
export interface Memory {
  get(key: string): string | null;
  set(key: string, id: string): void;
  remove(key: string): void;
}

export type Phase = "sending" | "waiting" | "checking" | "finished";

export interface UploadStatus {
  phase: Phase;
  sent: number;
  size: number;
  /** Where an earlier try had ended, when this one goes on from there. */
  resumedAt: number;
}

export interface UploadOptions {
  transport: Transport;
  memory: Memory;
  onStatus: (s: UploadStatus) => void;
  signal: AbortSignal;
  chunk?: number;
  wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

export function fingerprint(file: File): string {
  return `muster.upload.${file.name}.${file.size}.${file.lastModified}`;
}

/**
 * uploadFile sends a file in chunks and ends with its digest, which the server compares with what it
 * has stored. The server's offset is the truth: after every failure it is asked for again, so a cut
 * connection, a restarted server or a reloaded page costs at most one chunk.
 */
export async function uploadFile(file: File, o: UploadOptions): Promise<Upload> {
  const wait = o.wait ?? sleep;
  const key = fingerprint(file);
  const digest = new Digest(file);
  let upload = await begin(file, key, o);
  const resumedAt = upload.offset;
  const status = (phase: Phase, sent: number) => o.onStatus({ phase, sent, size: file.size, resumedAt });

  let failures = 0;
  while (upload.state !== "finished" && upload.offset < file.size) {
    const offset = upload.offset;
    const end = Math.min(offset + (o.chunk ?? CHUNK), file.size);
    status("sending", offset);
    try {
      await digest.upTo(end, o.signal);
      upload = await o.transport.patch(upload.id, offset, file.slice(offset, end), (n) => status("sending", offset + n), o.signal);
      failures = 0;
    } catch (err) {
      o.signal.throwIfAborted();
      const moved = err instanceof ApiError && err.status === 409;
      if ((!moved && !worthRetrying(err)) || ++failures > MAX_FAILURES) throw err;
      status("waiting", offset);
      upload = await askAgain(upload, failures, moved, o, wait);
    }
  }

  status("checking", file.size);
  if (upload.state !== "finished") {
    await digest.upTo(file.size, o.signal);
    upload = await finish(upload.id, digest.hex(), o, wait);
  }
  o.memory.remove(key);
  status("finished", file.size);
  return upload;
}

/** Asks until the server has looked into the archive, which takes as long as to unpack it. */
async function finish(id: string, sha256: string, o: UploadOptions, wait: (ms: number, signal: AbortSignal) => Promise<void>): Promise<Upload> {
  for (let failures = 1; ; failures++) {
    try {
      return await o.transport.finish(id, sha256);
    } catch (err) {
      o.signal.throwIfAborted();
      if (!worthRetrying(err) || failures >= MAX_CHECKS) throw err;
    }
    await wait(2000, o.signal);
  }
}

async function begin(file: File, key: string, o: UploadOptions): Promise<Upload> {
  const known = o.memory.get(key);
  if (known) {
    try {
      const upload = await o.transport.get(known, o.signal);
      if (upload.size === file.size && upload.state === "open") return upload;
    } catch (err) {
      if (worthRetrying(err) || o.signal.aborted) throw err;
      // The server no longer has it: begin anew.
    }
    o.memory.remove(key);
  }
  const upload = await o.transport.create(file.name, file.size);
  o.memory.set(key, upload.id);
  return upload;
}

async function askAgain(
  last: Upload,
  failures: number,
  moved: boolean,
  o: UploadOptions,
  wait: (ms: number, signal: AbortSignal) => Promise<void>,
): Promise<Upload> {
  if (!moved) await wait(Math.min(30_000, 500 * 2 ** failures), o.signal);
  try {
    return await o.transport.get(last.id, o.signal);
  } catch (err) {
    o.signal.throwIfAborted();
    if (!worthRetrying(err)) throw err;
    return last;
  }
}

/** Digest hashes a file front to back, each byte once, however often its chunks are sent. */
class Digest {
  private readonly hash = sha256.create();
  private done = 0;

  constructor(private readonly file: Blob) {}

  async upTo(end: number, signal: AbortSignal): Promise<void> {
    while (this.done < end) {
      signal.throwIfAborted();
      const stop = Math.min(this.done + HASH_STEP, end);
      this.hash.update(new Uint8Array(await this.file.slice(this.done, stop).arrayBuffer()));
      this.done = stop;
    }
  }

  hex(): string {
    return bytesToHex(this.hash.digest());
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
