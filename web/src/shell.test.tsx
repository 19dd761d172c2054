import { MantineProvider } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { createMemoryRouter, RouterProvider } from "react-router";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { newQueryClient } from "./api/query";
import { startI18n } from "./i18n";
import { Shell } from "./shell";

// A browser resolves "/api/v1/me" against the page; Node's Request does not, nor does it take jsdom's
// signals. The client keeps the Request that it finds when it is loaded.
vi.hoisted(() => {
  const NodeRequest = Request;
  globalThis.Request = class extends NodeRequest {
    constructor(input: string | URL | Request, init?: RequestInit) {
      super(typeof input === "string" ? new URL(input, "http://localhost") : input, { ...init, signal: undefined });
    }
  } as typeof Request;
});

/** The server as the shell sees it: a session or none. */
let signedIn: boolean;
let refuse: Response | undefined;

const json = (status: number, body: unknown) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": status < 400 ? "application/json" : "application/problem+json" } });

function respond(request: Request): Response {
  const path = new URL(request.url).pathname;
  if (refuse) return refuse;
  if (path === "/api/v1/login") {
    signedIn = true;
    return json(200, { username: "anna", kind: "session" });
  }
  if (path === "/api/v1/logout") {
    signedIn = false;
    return new Response(null, { status: 204 });
  }
  return signedIn ? json(200, { username: "anna", kind: "session" }) : json(401, { title: "Unauthorized", status: 401, code: "unauthenticated" });
}

beforeEach(() => {
  signedIn = false;
  refuse = undefined;
  startI18n();
  vi.stubGlobal("fetch", (request: Request) => Promise.resolve(respond(request)));
  vi.stubGlobal("WebSocket", class { close() {} });
  vi.stubGlobal("ResizeObserver", class { observe() {} unobserve() {} disconnect() {} });
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {}, addListener() {}, removeListener() {} }));
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function open() {
  const router = createMemoryRouter([{ path: "/", Component: Shell, children: [{ index: true, element: <h1>Inside</h1> }] }]);
  render(
    <QueryClientProvider client={newQueryClient()}>
      <MantineProvider env="test">
        <RouterProvider router={router} />
      </MantineProvider>
    </QueryClientProvider>,
  );
}

async function signIn() {
  fireEvent.change(await screen.findByLabelText("User name"), { target: { value: "anna" } });
  fireEvent.change(screen.getByLabelText("Password"), { target: { value: "a long sentence" } });
  fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
}

it("leads from the sign-in page inside and back", async () => {
  open();
  await signIn();
  expect(await screen.findByRole("heading", { name: "Inside" })).toBeTruthy();
  fireEvent.click(screen.getByRole("button", { name: "Account: anna" }));
  fireEvent.click(await screen.findByRole("menuitem", { name: "Sign out" }));
  expect(await screen.findByRole("heading", { name: "Sign in to Muster" })).toBeTruthy();
});

it("says why a sign-in was refused, with its code", async () => {
  open();
  await screen.findByLabelText("User name");
  refuse = json(429, { title: "Too Many Requests", status: 429, code: "too_many", detail: "wait 30 seconds" });
  await signIn();
  expect(await screen.findByText("wait 30 seconds")).toBeTruthy();
  expect(screen.getByText("Code: too_many")).toBeTruthy();
});

it("survives an answer that is not ours", async () => {
  refuse = new Response("<html>Bad gateway</html>", { status: 400 });
  open();
  expect(await screen.findByText("HTTP 400")).toBeTruthy();
  expect(screen.getByRole("button", { name: "Try again" })).toBeTruthy();
});
