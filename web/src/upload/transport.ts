import { API, api } from "../api/client";
import { ApiError, NetworkError, problemOf } from "../api/error";
import type { Upload } from "../api/types";
import type { Memory, Transport } from "./upload";

/** patch uses XMLHttpRequest because fetch does not tell how much of a body has been sent. */
function patch(id: string, offset: number, part: Blob, onSent: (bytes: number) => void, signal?: AbortSignal): Promise<Upload> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    signal?.addEventListener("abort", abort);
    xhr.open("PATCH", `${API}/uploads/${encodeURIComponent(id)}`);
    xhr.setRequestHeader("Content-Type", "application/octet-stream");
    xhr.setRequestHeader("Upload-Offset", String(offset));
    xhr.responseType = "json";
    xhr.upload.onprogress = (e) => onSent(e.loaded);
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300) resolve(xhr.response as Upload);
      else reject(new ApiError(xhr.status, problemOf(xhr.response)));
    };
    xhr.onerror = xhr.ontimeout = xhr.onabort = () => reject(new NetworkError());
    xhr.onloadend = () => signal?.removeEventListener("abort", abort);
    xhr.send(part);
  });
}

export const httpTransport: Transport = {
  create: api.createUpload,
  get: api.upload,
  patch,
  finish: api.finishUpload,
};

/** Storage may be switched off in a browser; then an upload simply does not survive a reload. */
export const browserMemory: Memory = {
  get: (key) => attempt(() => localStorage.getItem(key)) ?? null,
  set: (key, id) => void attempt(() => localStorage.setItem(key, id)),
  remove: (key) => void attempt(() => localStorage.removeItem(key)),
};

function attempt<T>(f: () => T): T | undefined {
  try {
    return f();
  } catch {
    return undefined;
  }
}
