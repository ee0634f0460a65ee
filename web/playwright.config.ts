import { defineConfig } from "@playwright/test";

// One demo stands behind all tests, so they run one after the other, and each leaves it as the next may find it.
const pictures = new URL("../.cache/web/", import.meta.url).pathname;

export default defineConfig({
  testDir: "e2e",
  testMatch: "*.spec.ts",
  outputDir: `${pictures}results`,
  globalSetup: "./e2e/demo.ts",
  reporter: [["./e2e/reporter.ts"]],
  // What takes the history away comes last.
  projects: [
    { name: "all", testIgnore: "outage.spec.ts" },
    { name: "outage", testMatch: "outage.spec.ts" },
  ],
  workers: 1,
  fullyParallel: false,
  timeout: 90_000,
  expect: { timeout: 30_000 },
  use: {
    locale: "en-GB",
    timezoneId: "Europe/Berlin",
    viewport: { width: 1360, height: 900 },
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
      // A browser refuses its sandbox to root; the rest keeps it from calling home.
      args: [
        ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});
