import type { Problem } from "./types";

/** ApiError is every refusal of the server, with its stable code and its sentence for people. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly fields: { field: string; message: string }[];

  constructor(status: number, problem: Problem) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.code = problem.code || (status === 401 ? "unauthenticated" : "internal");
    this.fields = (problem.errors ?? []).map((e) => ({ field: e.field ?? "", message: e.message ?? "" }));
  }
}

/** NetworkError says that no answer came at all: the server is away or the line is cut. */
export class NetworkError extends Error {
  constructor(cause?: unknown) {
    super("no answer from the server", { cause });
    this.name = "NetworkError";
  }
}

/** problemOf reads a refusal's body, which may also be a proxy's HTML page. */
export function problemOf(body: unknown): Problem {
  return typeof body === "object" && body !== null ? (body as Problem) : {};
}

export function isUnauthenticated(err: unknown): boolean {
  return err instanceof ApiError && err.status === 401;
}

/** worthRetrying tells a passing trouble from a refusal that would only be repeated. */
export function worthRetrying(err: unknown): boolean {
  if (err instanceof NetworkError) return true;
  return err instanceof ApiError && [408, 425, 429, 502, 503, 504].includes(err.status);
}
