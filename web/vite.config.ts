import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// `npm run dev` shows the sources as they are, with the API of a running countersign behind them.
const api = process.env.COUNTERSIGN_API ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2023",
    // The content security policy forbids what is inline, and with it data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    manifest: "manifest.json",
    license: { fileName: "licences.txt" },
  },
  server: { proxy: { "/v1": api, "/login": api, "/logout": api, "/plain.css": api } },
  test: { include: ["src/**/*.test.{ts,tsx}"], environment: "node" },
});
