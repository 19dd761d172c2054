import { createBrowserRouter, Navigate, type RouteObject } from "react-router";
import { Crashed, NotFound } from "./page/lost";
import { Shell } from "./shell";

/** Each page is a file of its own, loaded when it is first opened. */
const page = (path: string, load: () => Promise<{ default: React.ComponentType }>): RouteObject => ({
  path,
  lazy: async () => ({ Component: (await load()).default }),
});

export const router = createBrowserRouter([
  {
    path: "/",
    Component: Shell,
    ErrorBoundary: Crashed,
    HydrateFallback: () => null,
    children: [
      {
        ErrorBoundary: Crashed,
        children: [
          { index: true, element: <Navigate to="/devices" replace /> },
          page("devices", () => import("./page/devices")),
          page("devices/:id", () => import("./page/device")),
          page("devices/:id/:tab", () => import("./page/device")),
          page("software", () => import("./page/software")),
          page("software/:id", () => import("./page/software-title")),
          page("tasks", () => import("./page/tasks")),
          page("tasks/:id", () => import("./page/task")),
          page("events", () => import("./page/events")),
          page("groups", () => import("./page/groups")),
          page("groups/:id", () => import("./page/group")),
          page("releases", () => import("./page/releases")),
          page("releases/:id", () => import("./page/release")),
          page("logs", () => import("./page/logs")),
          page("packages", () => import("./page/packages")),
          page("packages/new", () => import("./page/package-new")),
          page("packages/:id", () => import("./page/package")),
          page("deployments", () => import("./page/deployments")),
          page("deployments/:id", () => import("./page/deployment")),
          page("assignments", () => import("./page/assignments")),
          page("enrollment-tokens", () => import("./page/enrollment-tokens")),
          page("api-tokens", () => import("./page/api-tokens")),
          page("trust", () => import("./page/trust")),
          page("audit", () => import("./page/audit")),
          { path: "*", Component: NotFound },
        ],
      },
    ],
  },
]);
