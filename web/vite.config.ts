import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The built files are embedded into the server, which serves them and the API from one origin. For
// development the API comes from a running server: MUSTER_API names it.
const api = process.env.MUSTER_API ?? "http://localhost:8080";

export default defineConfig({
  plugins: [react()],
  build: { target: "es2022", sourcemap: false },
  server: { host: "127.0.0.1", proxy: { "/api": { target: api, ws: true } } },
  preview: { host: "127.0.0.1", proxy: { "/api": { target: api, ws: true } } },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}"] },
});
