import type { Page } from "@playwright/test";
import { views } from "../src/views";
import { person, settled, stolen, stranger, tenant } from "./people";
import { accessible, ask, expect, fits, open, origin, picture, shoot, test } from "./world";

// Every view of src/views.ts: opens, shows what it is for, is accessible in both themes, fits a phone. That the console is
// quiet and nothing is asked of another host is looked at after every test.

interface Case {
  /** What leads there; a view with parameters asks the API for some. */
  path: (page: Page) => string | Promise<string>;
  title: string | RegExp;
  /** Waits until real content is there. */
  shows: (page: Page) => Promise<void>;
}

const known = person("known", { name: "Kay McNulty" });

async function finding(page: Page) {
  const found = await ask(page, `/v1/findings?tenant=${tenant}&user=${known.id}&detection=SES-01`, a => a.findings.length > 0);
  return found.findings[0];
}

const row = (page: Page, name: string | RegExp) => expect(page.getByRole("row", { name }).first()).toBeVisible();
const region = (page: Page, name: string | RegExp, text: string | RegExp) =>
  expect(page.getByRole("region", { name }).first()).toContainText(text);
const main = (page: Page, text: string | RegExp) => expect(page.getByRole("main")).toContainText(text);

const cases: Record<string, Case> = {
  "": {
    path: () => "/",
    title: "Overview",
    shows: async page => {
      await region(page, "Latest findings", /[A-Z]{2,5}-\d{2}/);
      await region(page, "By rule", /[A-Z]{2,5}-\d{2}/);
    },
  },
  live: { path: () => "/live", title: "Live", shows: page => main(page, /[A-Z]{2,5}-\d{2}/) },
  map: {
    path: () => "/map?range=30d",
    title: "Map",
    shows: page => expect(page.locator(".map .spot").first()).toBeVisible(),
  },
  "step-ups": { path: () => "/step-ups?range=7d", title: "Step-ups", shows: page => row(page, /Kay McNulty|known-/) },
  "step-ups/:id": {
    path: async page => {
      const open = await ask(page, `/v1/revocations?tenant=${tenant}&user=${known.id}`, a => a.revocations.length > 0);
      return `/step-ups/${encodeURIComponent(open.revocations[0].id)}`;
    },
    title: /Step-up/,
    shows: page => main(page, /SES-01|stolen-session/),
  },
  findings: { path: () => "/findings?range=7d", title: "Findings", shows: page => main(page, /[A-Z]{2,5}-\d{2}/) },
  "findings/:id": {
    path: async page => `/findings/${encodeURIComponent((await finding(page)).id)}`,
    title: /./,
    shows: page => main(page, "SES-01"),
  },
  users: { path: () => "/users", title: /Users|People/, shows: page => main(page, /\w+ \w+/) },
  "users/:tenant/:user": {
    path: () => `/users/${tenant}/${known.id}?range=30d`,
    title: /Kay McNulty/,
    shows: page => main(page, /Payroll/),
  },
  "sessions/:tenant/:session": {
    path: () => `/sessions/${tenant}/session-${known.id}?range=30d`,
    title: /Session/,
    shows: page => main(page, /Kay McNulty/),
  },
  networks: { path: () => `/networks?ip=${stranger}`, title: /Network/, shows: page => main(page, /Kay McNulty/) },
  apps: { path: () => `/apps?tenant=${tenant}`, title: /Apps|Applications/, shows: page => main(page, /Payroll/) },
  "apps/:tenant/:app": { path: () => `/apps/${tenant}/app-${known.id}`, title: /./, shows: page => main(page, /Payroll/) },
  rules: { path: () => "/rules", title: "Rules", shows: page => row(page, /SES-01 .*Session/) },
  policies: { path: () => "/policies", title: "Policies", shows: page => row(page, /stolen-session/) },
  "backtests/:id": {
    path: async page => {
      const now = Date.now();
      const made = await page.request.post(`${origin()}/v1/backtests`, {
        headers: { Origin: origin() },
        data: {
          baseline: "recorded",
          tenant,
          from: new Date(now - 86_400_000).toISOString(),
          to: new Date(now).toISOString(),
          warm_up_days: 14,
        },
      });
      expect(made.status(), await made.text()).toBe(202);
      return `/backtests/${(await made.json()).id}`;
    },
    title: "Backtest",
    shows: page => region(page, "Side by side", /people/),
  },
  sources: {
    path: () => "/sources",
    title: "Sources",
    shows: async page => {
      await row(page, /hr-idp/);
      await region(page, "What the log holds", "countersign.events.v1");
      await region(page, "Who reads", "countersign-detector");
    },
  },
  alerts: {
    path: () => "/alerts",
    title: "Alerts",
    shows: page => expect(page.getByRole("article").filter({ hasText: "security-chat" }).first()).toBeVisible(),
  },
  streams: { path: () => "/streams", title: "Streams", shows: page => row(page, /acme/) },
  deadletters: { path: () => "/deadletters", title: "Dead letters", shows: page => main(page, /No dead letters|ingest/) },
  audit: { path: () => "/audit", title: "Audit", shows: page => row(page, /sign_in/) },
  erasures: {
    path: async page => {
      const gone = person("gone");
      const asked = await page.request.post(`${origin()}/v1/users/${tenant}/${gone.id}/erase`, {
        headers: { Origin: origin() },
        data: { confirm: gone.id, reason: "asked to be forgotten" },
      });
      expect(asked.status(), await asked.text()).toBe(202);
      await ask(page, "/v1/erasures", a => a.erasures.some((e: { user: string }) => e.user === gone.id));
      return "/erasures";
    },
    title: "Erasures",
    shows: page => row(page, /gone-/),
  },
  tokens: { path: () => "/tokens", title: "API tokens", shows: page => main(page, "Make a token") },
};

test.beforeAll(async () => stolen(known, await settled(known)));

test("there is a test of every view", () => {
  expect(views.map(v => v.path).filter(path => !(path in cases))).toEqual([]);
});

for (const { path } of views) {
  const view = cases[path];
  if (!view) continue;
  const name = path === "" ? "overview" : path.replaceAll(/\/?:\w+/g, "").replace(/s$/, path.includes(":") ? "" : "s");
  test(`/${path} shows what it is for, to everybody`, async ({ page }) => {
    await open(page, await view.path(page), view.title);
    await view.shows(page);
    await expect(page.locator("main .error-note")).toHaveCount(0);
    await accessible(page);
    await picture(page, name);
    await shoot(page, name);
    await fits(page, name);
  });
}
