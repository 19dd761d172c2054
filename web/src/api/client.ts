// The only module that talks to the admin API.
import { ApiError, NetworkError, problemOf } from "./error";
import type {
  ApiToken,
  Assignment,
  AuditEntry,
  Deployment,
  Device,
  EnrollmentToken,
  Me,
  Package,
  PackageSpec,
  Page,
  Server,
  Trust,
  Upload,
} from "./types";

export const API = "/api/v1";

export type Query = Record<string, string | number | boolean | undefined>;

interface Options {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
}

async function call<T>(method: string, path: string, { query, body, signal }: Options = {}): Promise<T> {
  const search = new URLSearchParams();
  for (const [k, v] of Object.entries(query ?? {})) {
    if (v !== undefined && v !== "") search.set(k, String(v));
  }
  const url = API + path + (search.size > 0 ? `?${search}` : "");
  let res: Response;
  try {
    res = await fetch(url, {
      method,
      signal,
      credentials: "same-origin",
      headers: body === undefined ? { Accept: "application/json" } : { Accept: "application/json", "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (err) {
    if (signal?.aborted) throw err;
    throw new NetworkError(err);
  }
  const text = await res.text();
  const parsed = parse(text);
  if (!res.ok) throw new ApiError(res.status, problemOf(parsed));
  return parsed as T;
}

function parse(text: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const at = (collection: string, id: string, action = "") => `/${collection}/${encodeURIComponent(id)}${action}`;

const list =
  <T>(path: string) =>
  (query: Query, signal?: AbortSignal) =>
    call<Page<T>>("GET", path, { query, signal });

export const api = {
  login: (username: string, password: string) => call<Me>("POST", "/login", { body: { username, password } }),
  logout: () => call<void>("POST", "/logout"),
  me: (signal?: AbortSignal) => call<Me>("GET", "/me", { signal }),
  changePassword: (current: string, next: string) => call<void>("POST", "/me/password", { body: { current, new: next } }),

  server: () => call<Server>("GET", "/server"),
  trust: () => call<Trust>("GET", "/trust"),
  audit: list<AuditEntry>("/audit"),

  apiTokens: list<ApiToken>("/api-tokens"),
  createApiToken: (body: { name: string; expires_in_days?: number }) => call<ApiToken>("POST", "/api-tokens", { body }),
  deleteApiToken: (id: string) => call<void>("DELETE", at("api-tokens", id)),

  enrollmentTokens: list<EnrollmentToken>("/enrollment-tokens"),
  createEnrollmentToken: (body: { name: string; max_uses?: number; expires_in_hours?: number; needs_approval?: boolean }) =>
    call<EnrollmentToken>("POST", "/enrollment-tokens", { body }),
  revokeEnrollmentToken: (id: string) => call<void>("DELETE", at("enrollment-tokens", id)),

  devices: list<Device>("/devices"),
  device: (id: string) => call<Device>("GET", at("devices", id)),
  approveDevice: (id: string) => call<Device>("POST", at("devices", id, "/approve")),
  revokeDevice: (id: string) => call<Device>("POST", at("devices", id, "/revoke")),
  wakeDevice: (id: string) => call<{ connected: boolean }>("POST", at("devices", id, "/wakeup")),

  createUpload: (file_name: string, size: number) => call<Upload>("POST", "/uploads", { body: { file_name, size } }),
  upload: (id: string, signal?: AbortSignal) => call<Upload>("GET", at("uploads", id), { signal }),
  finishUpload: (id: string, sha256: string) => call<Upload>("POST", at("uploads", id, "/finish"), { body: { sha256 } }),
  deleteUpload: (id: string) => call<void>("DELETE", at("uploads", id)),

  packages: list<Package>("/packages"),
  package: (id: string) => call<Package>("GET", at("packages", id)),
  createPackage: (body: PackageSpec) => call<Package>("POST", "/packages", { body }),
  deletePackage: (id: string) => call<void>("DELETE", at("packages", id)),
  signPackage: (id: string) => call<Package>("POST", at("packages", id, "/sign"), { body: {} }),
  activatePackage: (id: string) => call<Package>("POST", at("packages", id, "/activate")),
  retirePackage: (id: string) => call<Package>("POST", at("packages", id, "/retire")),

  assignments: list<Assignment>("/assignments"),
  assign: (body: { package_id: string; device_ids?: string[]; all?: boolean; not_before?: string }) =>
    call<Assignment>("POST", "/assignments", { body }),
  unassign: (id: string) => call<void>("DELETE", at("assignments", id)),

  deployments: list<Deployment>("/deployments"),
  deployment: (id: string) => call<Deployment>("GET", at("deployments", id)),
  retryDeployment: (id: string) => call<Deployment>("POST", at("deployments", id, "/retry")),
  cancelDeployment: (id: string) => call<Deployment>("POST", at("deployments", id, "/cancel")),
};
