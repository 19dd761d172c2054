// The only module that talks to the admin API. Paths, parameters, bodies and answers are checked
// against the types that are generated from the server's OpenAPI document.
import createClient from "openapi-fetch";
import { ApiError, NetworkError, problemOf } from "./error";
import type { paths } from "./schema.gen";
import type { PackageSpec } from "./types";

export const API = "/api/v1";

/** Filters of a list as they stand in the page's address; the server checks their values. */
export type Query = Record<string, string | number | undefined>;

type Body<P extends keyof paths> = paths[P] extends { post: { requestBody: { content: { "application/json": infer B } } } } ? B : never;

type PatchBody<P extends keyof paths> = paths[P] extends { patch: { requestBody: { content: { "application/json": infer B } } } } ? B : never;
type PutBody<P extends keyof paths> = paths[P] extends { put: { requestBody: { content: { "application/json": infer B } } } } ? B : never;

const http = createClient<paths>({
  baseUrl: API,
  credentials: "same-origin",
  fetch: (request) =>
    fetch(request).catch((err: unknown) => {
      throw request.signal.aborted ? err : new NetworkError(err);
    }),
  querySerializer: (query) => {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
    }
    return search.toString();
  },
});

/** answer makes every refusal an ApiError. */
async function answer<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok) throw new ApiError(response.status, problemOf(error));
  return data as T;
}

const by = (id: string) => ({ params: { path: { id } } });

/** What stands in an address may be anything; its type is the server's to check. */
const list = (query: Query, signal?: AbortSignal) => ({ params: { query: query as never }, signal });

/** A list that belongs to one thing. */
const listOf = (id: string, query: Query, signal?: AbortSignal) => ({ params: { path: { id }, query: query as never }, signal });

export const api = {
  login: (username: string, password: string) => answer(http.POST("/login", { body: { username, password } })),
  logout: () => answer(http.POST("/logout")),
  me: (signal?: AbortSignal) => answer(http.GET("/me", { signal })),
  changePassword: (current: string, next: string) => answer(http.POST("/me/password", { body: { current, new: next } })),

  server: () => answer(http.GET("/server")),
  trust: () => answer(http.GET("/trust")),
  removeTrustKey: (id: string) => answer(http.DELETE("/trust/keys/{id}", by(id))),
  revokeInstruction: (name: string) => answer(http.POST("/trust/revocations", { body: { names: [name] } })),
  audit: (query: Query, signal?: AbortSignal) => answer(http.GET("/audit", list(query, signal))),

  apiTokens: (query: Query, signal?: AbortSignal) => answer(http.GET("/api-tokens", list(query, signal))),
  createApiToken: (body: Body<"/api-tokens">) => answer(http.POST("/api-tokens", { body })),
  deleteApiToken: (id: string) => answer(http.DELETE("/api-tokens/{id}", by(id))),

  enrollmentTokens: (query: Query, signal?: AbortSignal) => answer(http.GET("/enrollment-tokens", list(query, signal))),
  createEnrollmentToken: (body: Body<"/enrollment-tokens">) => answer(http.POST("/enrollment-tokens", { body })),
  revokeEnrollmentToken: (id: string) => answer(http.DELETE("/enrollment-tokens/{id}", by(id))),

  devices: (query: Query, signal?: AbortSignal) => answer(http.GET("/devices", list(query, signal))),
  device: (id: string) => answer(http.GET("/devices/{id}", by(id))),
  approveDevice: (id: string) => answer(http.POST("/devices/{id}/approve", by(id))),
  revokeDevice: (id: string) => answer(http.POST("/devices/{id}/revoke", by(id))),
  wakeDevice: (id: string) => answer(http.POST("/devices/{id}/wakeup", by(id))),
  removeDevice: (id: string) => answer(http.POST("/devices/{id}/remove", by(id))),

  inventory: (id: string) => answer(http.GET("/devices/{id}/inventory", by(id))),
  requestInventory: (id: string) => answer(http.POST("/devices/{id}/inventory", { ...by(id), body: {} })),
  section: (id: string, section: string, query: Query, signal?: AbortSignal) =>
    answer(http.GET("/devices/{id}/inventory/{section}", { params: { path: { id, section }, query: query as never }, signal })),
  deviceSoftware: (id: string, query: Query, signal?: AbortSignal) => answer(http.GET("/devices/{id}/software", listOf(id, query, signal))),
  deviceSoftwareHistory: (id: string, query: Query, signal?: AbortSignal) => answer(http.GET("/devices/{id}/software/history", listOf(id, query, signal))),

  software: (query: Query, signal?: AbortSignal) => answer(http.GET("/software", list(query, signal))),
  softwareTitle: (id: string) => answer(http.GET("/software/{id}", by(id))),
  softwareDevices: (id: string, query: Query, signal?: AbortSignal) => answer(http.GET("/software/{id}/devices", listOf(id, query, signal))),
  softwareHistory: (id: string, query: Query, signal?: AbortSignal) => answer(http.GET("/software/{id}/history", listOf(id, query, signal))),
  uninstall: (body: Body<"/uninstalls">) => answer(http.POST("/uninstalls", { body })),

  tasks: (query: Query, signal?: AbortSignal) => answer(http.GET("/tasks", list(query, signal))),
  task: (id: string) => answer(http.GET("/tasks/{id}", by(id))),
  cancelTask: (id: string) => answer(http.POST("/tasks/{id}/cancel", by(id))),

  deviceEvents: (query: Query, signal?: AbortSignal) => answer(http.GET("/device-events", list(query, signal))),

  logs: (query: Query, signal?: AbortSignal) => answer(http.GET("/logs", list(query, signal))),
  deviceLog: (id: string) => answer(http.GET("/devices/{id}/log", by(id))),
  setLog: (id: string, body: PutBody<"/devices/{id}/log">) => answer(http.PUT("/devices/{id}/log", { ...by(id), body })),
  followLog: (id: string, for_seconds: number) => answer(http.POST("/devices/{id}/log/follow", { ...by(id), body: { for_seconds } })),

  groups: (query: Query, signal?: AbortSignal) => answer(http.GET("/groups", list(query, signal))),
  group: (id: string) => answer(http.GET("/groups/{id}", by(id))),
  createGroup: (body: Body<"/groups">) => answer(http.POST("/groups", { body })),
  changeGroup: (id: string, body: PatchBody<"/groups/{id}">) => answer(http.PATCH("/groups/{id}", { ...by(id), body })),
  deleteGroup: (id: string) => answer(http.DELETE("/groups/{id}", by(id))),
  previewGroup: (search: Body<"/groups/preview">["search"], limit: number) => answer(http.POST("/groups/preview", { body: { search, limit } })),
  groupMembers: (id: string, query: Query, signal?: AbortSignal) => answer(http.GET("/groups/{id}/members", listOf(id, query, signal))),
  addMembers: (id: string, device_ids: string[]) => answer(http.POST("/groups/{id}/members", { ...by(id), body: { device_ids } })),
  removeMembers: (id: string, device_ids: string[]) => answer(http.POST("/groups/{id}/members/remove", { ...by(id), body: { device_ids } })),

  releases: (query: Query, signal?: AbortSignal) => answer(http.GET("/releases", list(query, signal))),
  release: (id: string) => answer(http.GET("/releases/{id}", by(id))),
  retireRelease: (id: string) => answer(http.POST("/releases/{id}/retire", by(id))),
  update: (body: Body<"/updates">) => answer(http.POST("/updates", { body })),

  runModule: (id: string, name: string, parameters?: Record<string, unknown>) =>
    answer(http.POST("/devices/{id}/modules/{name}/run", { params: { path: { id, name } }, body: parameters ? { parameters } : {} })),

  createUpload: (file_name: string, size: number) => answer(http.POST("/uploads", { body: { file_name, size } })),
  upload: (id: string, signal?: AbortSignal) => answer(http.GET("/uploads/{id}", { ...by(id), signal })),
  finishUpload: (id: string, sha256: string) => answer(http.POST("/uploads/{id}/finish", { ...by(id), body: { sha256 } })),

  packages: (query: Query, signal?: AbortSignal) => answer(http.GET("/packages", list(query, signal))),
  package: (id: string) => answer(http.GET("/packages/{id}", by(id))),
  createPackage: (body: PackageSpec) => answer(http.POST("/packages", { body })),
  deletePackage: (id: string) => answer(http.DELETE("/packages/{id}", by(id))),
  signPackage: (id: string) => answer(http.POST("/packages/{id}/sign", { ...by(id), body: {} })),
  activatePackage: (id: string) => answer(http.POST("/packages/{id}/activate", by(id))),
  retirePackage: (id: string) => answer(http.POST("/packages/{id}/retire", by(id))),

  assignments: (query: Query, signal?: AbortSignal) => answer(http.GET("/assignments", list(query, signal))),
  assign: (body: Body<"/assignments">) => answer(http.POST("/assignments", { body })),
  unassign: (id: string) => answer(http.DELETE("/assignments/{id}", by(id))),

  deployments: (query: Query, signal?: AbortSignal) => answer(http.GET("/deployments", list(query, signal))),
  deployment: (id: string) => answer(http.GET("/deployments/{id}", by(id))),
  retryDeployment: (id: string) => answer(http.POST("/deployments/{id}/retry", by(id))),
  cancelDeployment: (id: string) => answer(http.POST("/deployments/{id}/cancel", by(id))),
};
