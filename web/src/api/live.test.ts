import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Nudges, parseEvent, SETTLE_MS } from "./live";
import { keys } from "./query";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function setup() {
  const client = new QueryClient();
  const invalidated = vi.spyOn(client, "invalidateQueries").mockResolvedValue();
  return { client, nudges: new Nudges(client), kinds: () => invalidated.mock.calls.map(([f]) => f?.queryKey?.[0]) };
}

describe("Nudges", () => {
  it("makes one refetch of a burst", () => {
    const { nudges, kinds } = setup();
    for (let i = 0; i < 1000; i++) nudges.take({ type: "deployment", id: `d${i}` });
    expect(kinds()).toEqual([]);
    vi.advanceTimersByTime(SETTLE_MS);
    expect(kinds()).toEqual(["deployments", "packages", "devices", "assignments"]);
    vi.advanceTimersByTime(10 * SETTLE_MS);
    expect(kinds()).toHaveLength(4);
  });

  it("shows progress at once and asks the server for nothing", () => {
    const { client, nudges, kinds } = setup();
    client.setQueryData(keys.one("deployments", "d1"), { id: "d1", state: "fetching" });
    nudges.take({ type: "deployment", id: "d1", progress: { done: 5, total: 9 } });
    nudges.take({ type: "deployment", id: "not-shown", progress: { done: 1, total: 9 } });
    vi.advanceTimersByTime(SETTLE_MS);
    expect(client.getQueryData(keys.one("deployments", "d1"))).toEqual({ id: "d1", state: "fetching", progress: { done: 5, total: 9 } });
    expect(client.getQueryData(keys.one("deployments", "not-shown"))).toBeUndefined();
    expect(kinds()).toEqual([]);
  });

  it("asks for log lines only where the device that wrote them is followed", () => {
    const { client, nudges } = setup();
    for (let i = 0; i < 100; i++) nudges.take({ type: "log", id: "d1", device_id: "d1" });
    vi.advanceTimersByTime(SETTLE_MS);
    expect(vi.mocked(client.invalidateQueries).mock.calls).toEqual([[{ queryKey: keys.list("logs", "d1", "live") }]]);
  });

  it("asks for the lines of every device that is followed when it is not told which have new ones", () => {
    const client = new QueryClient();
    const nudges = new Nudges(client);
    const followed = keys.list("logs", "d1", "live", {});
    const still = keys.list("logs", "d1", "still", {});
    client.setQueryData(followed, []);
    client.setQueryData(still, []);
    nudges.take({ type: "log", id: "" });
    vi.advanceTimersByTime(SETTLE_MS);
    expect([followed, still].map((key) => client.getQueryState(key)?.isInvalidated)).toEqual([true, false]);
  });

  it("asks again for what was on its way for the first time", async () => {
    const client = new QueryClient();
    const nudges = new Nudges(client);
    const answers: ((state: string) => void)[] = [];
    const observer = new QueryObserver(client, { queryKey: ["deployments", "list"], queryFn: () => new Promise<string>((resolve) => answers.push(resolve)) });
    const unsubscribe = observer.subscribe(() => undefined);
    expect(answers).toHaveLength(1);
    nudges.take({ type: "deployment", id: "d1" });
    await vi.advanceTimersByTimeAsync(SETTLE_MS);
    answers[0]?.("accepted");
    await vi.advanceTimersByTimeAsync(SETTLE_MS);
    expect(answers).toHaveLength(2);
    answers[1]?.("succeeded");
    await vi.advanceTimersByTimeAsync(SETTLE_MS);
    expect(observer.getCurrentResult().data).toBe("succeeded");
    expect(answers).toHaveLength(2);
    unsubscribe();
  });

  it("ignores kinds it does not know, and stops when told", () => {
    const { nudges, kinds } = setup();
    nudges.take({ type: "future", id: "x" });
    nudges.take({ type: "device", id: "x" });
    nudges.stop();
    vi.advanceTimersByTime(SETTLE_MS);
    expect(kinds()).toEqual([]);
  });
});

it.each([["{"], ["[]"], ["null"], ['{"id":"x"}'], [new Blob()]])("drops what is no event: %s", (data) => {
  expect(parseEvent(data)).toBeUndefined();
});
