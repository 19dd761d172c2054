import { MantineProvider } from "@mantine/core";
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { createBrowserRouter, Link, RouterProvider } from "react-router";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { useFilters } from "./filter";
import { Search } from "./search";

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {}, addListener() {}, removeListener() {} }));
  window.history.replaceState(null, "", "/list");
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function List() {
  const filters = useFilters(["q"] as const);
  return (
    <>
      <Search label="Search" value={filters.values.q} onChange={(v) => filters.set("q", v)} />
      <Link to="/one">One</Link>
    </>
  );
}

/** open shows a list whose search is filled with a word; the other page is loaded when it is first opened. */
async function open() {
  let loaded = () => {};
  const loading = new Promise<{ Component: () => React.ReactNode }>((resolve) => {
    loaded = () => resolve({ Component: List });
  });
  const router = createBrowserRouter([
    { path: "/list", Component: List },
    { path: "/one", lazy: () => loading },
  ]);
  render(<MantineProvider><RouterProvider router={router} /></MantineProvider>);
  fireEvent.change(screen.getByLabelText("Search"), { target: { value: "dpkg" } });
  return loaded;
}

const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));

it("asks when typing pauses", async () => {
  await open();
  expect(location.search).toBe("");
  await pass(1000);
  expect(location.pathname + location.search).toBe("/list?q=dpkg");
});

it("neither keeps one from leaving nor filters the next page", async () => {
  const loaded = await open();
  fireEvent.click(screen.getByText("One"));
  await pass(1000);
  loaded();
  await pass(1000);
  expect(location.pathname + location.search).toBe("/one");
});
