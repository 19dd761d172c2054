import type { QueryClient } from "@tanstack/react-query";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { API } from "./client";
import { keys } from "./query";
import type { Deployment, LiveEvent } from "./types";

/** Nudges of one burst (an assignment to thousands of devices) become one refetch. */
export const SETTLE_MS = 250;
const MAX_BACKOFF_MS = 30_000;

/** What a nudge of each type makes stale. */
const stale: Record<string, string[]> = {
  deployment: ["deployments", "packages", "devices", "assignments"],
  device: ["devices", "device-log"],
  task: ["tasks", "devices"],
  inventory: ["inventory", "software", "devices"],
  event: ["events"],
  package: ["packages", "deployments"],
  trust: ["trust", "server", "packages", "devices"],
  upload: [],
  release: ["releases"],
  group: ["groups", "devices", "enrollment-tokens"],
  enrollment_token: ["enrollment-tokens"],
};

/** Nudges collects live events and marks what they concern as stale, once per burst. */
export class Nudges {
  private kinds = new Set<string>();
  private logs = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly client: QueryClient) {}

  take(e: LiveEvent): void {
    const progress = e.progress;
    if (e.type === "deployment" && progress) {
      // Progress is shown at once and asks the server for nothing.
      this.client.setQueryData<Deployment>(keys.one("deployments", e.id), (d) => d && { ...d, progress });
      return;
    }
    // Lines come often: only who follows the device that wrote them asks for them. Of very many devices it is
    // told that they are many, not which.
    if (e.type === "log") this.logs.add(e.device_id ?? "");
    for (const kind of stale[e.type] ?? []) this.kinds.add(kind);
    this.timer ??= setTimeout(() => this.flush(), SETTLE_MS);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private flush(): void {
    this.timer = undefined;
    for (const kind of this.kinds) {
      // An answer that is on its way for the first time may be older than the nudge, and asking again while nothing is
      // there yet only waits for that one.
      for (const first of this.client.getQueryCache().findAll({ queryKey: [kind], fetchStatus: "fetching" })) {
        if (first.state.data !== undefined) continue;
        const again = () => void this.client.invalidateQueries({ queryKey: first.queryKey, exact: true });
        first.promise?.then(again, () => undefined);
      }
      void this.client.invalidateQueries({ queryKey: [kind] });
    }
    this.kinds.clear();
    for (const id of this.logs) {
      if (id) void this.client.invalidateQueries({ queryKey: keys.list("logs", id, "live") });
      else void this.client.invalidateQueries({ queryKey: ["logs"], predicate: (q) => q.queryKey[3] === "live" });
    }
    this.logs.clear();
  }
}

export function parseEvent(data: unknown): LiveEvent | undefined {
  if (typeof data !== "string") return undefined;
  try {
    const e: unknown = JSON.parse(data);
    if (typeof e === "object" && e !== null && typeof (e as LiveEvent).type === "string") return e as LiveEvent;
  } catch {
    // Not for us: a nudge that cannot be read costs freshness only.
  }
  return undefined;
}

/** useLive keeps the event socket open and reports whether it is. What was missed is fetched again. */
export function useLive(): boolean {
  const client = useQueryClient();
  const [live, setLive] = useState(false);
  useEffect(() => {
    const nudges = new Nudges(client);
    let socket: WebSocket | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    let opened = false;
    let ended = false;

    const connect = () => {
      socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${API}/events`);
      socket.onopen = () => {
        failures = 0;
        setLive(true);
        if (opened) void client.invalidateQueries();
        opened = true;
      };
      socket.onmessage = (m) => {
        const e = parseEvent(m.data);
        if (e) nudges.take(e);
      };
      socket.onclose = () => {
        setLive(false);
        if (ended) return;
        const wait = Math.min(MAX_BACKOFF_MS, 500 * 2 ** failures++) * (0.5 + Math.random() / 2);
        timer = setTimeout(connect, wait);
      };
    };
    connect();
    return () => {
      ended = true;
      clearTimeout(timer);
      nudges.stop();
      socket?.close();
    };
  }, [client]);
  return live;
}
