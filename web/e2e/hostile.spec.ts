import { person, post, settled, stolen, stranger, tenant } from "./people";
import { ask, expect, open, origin, test } from "./world";

// What an attacker writes into a sign-in stays text: in every field, on every view that shows it.

const run = `window.ran=(window.ran||0)+1`;
const markup = (field: string) => `${field}<img src=x onerror=${run}><script>${run}</script>"'>{{7*7}}\u202e`;

test("markup in every field of an event is text on every view", async ({ page, watched }) => {
  test.setTimeout(180_000);
  const p = person("hostile", {
    name: markup("name"),
    app: markup("app"),
    agent: markup("agent"),
    city: markup("city"),
    device: markup("device"),
    family: "hostile-idp",
  });
  await stolen(p, await settled(p));
  await post(`{"kind":"${markup("kind").replaceAll('"', "'")}`);
  const { findings } = await ask(page, `/v1/findings?tenant=${tenant}&user=${p.id}`, a => a.findings.length > 0);
  await ask(page, `/v1/users?q=${p.id}`, a => a.users.length > 0);
  await ask(page, `/v1/sessions/${tenant}/session-${p.id}`, a => a.events > 0);
  await ask(page, `/v1/apps?tenant=${tenant}`, a => a.apps.some((app: { app: string }) => app.app === `app-${p.id}`));
  await ask(page, `/v1/alerts?user=${p.id}`, a => a.alerts.length > 0);
  await ask(page, "/v1/deadletters", a => a.dead_letters.some((l: { reason: string }) => l.reason !== ""));
  const shown: [path: string, title: string | RegExp, text: string | undefined][] = [
    [`/findings?tenant=${tenant}&user=${p.id}`, "Findings", "name<img"],
    [`/findings/${encodeURIComponent(findings[0].id)}`, /./, "name<img"],
    [`/users?q=${p.id}`, /./, "name<img"],
    [`/users/${tenant}/${p.id}`, /./, "name<img"],
    [`/sessions/${tenant}/session-${p.id}`, /./, "name<img"],
    [`/networks?ip=${stranger}`, /./, "name<img"],
    [`/apps?tenant=${tenant}`, /./, "app<img"],
    [`/apps/${tenant}/app-${p.id}`, /./, "app<img"],
    [`/alerts?user=${p.id}`, "Alerts", "name<img"],
    ["/deadletters", "Dead letters", undefined],
    ["/sources", "Sources", "hostile-idp"],
    ["/live", "Live", undefined],
    ["/map", "Map", undefined],
    ["/", "Overview", undefined],
    [`/audit?user=${encodeURIComponent(markup("user"))}`, "Audit", undefined],
    [`/findings?detection=${encodeURIComponent(markup("detection"))}`, "Findings", undefined],
  ];
  for (const [path, title, text] of shown) {
    await open(page, path, title);
    if (text) await expect(page.getByText(text).first(), path).toBeVisible();
    await expect(page.locator('main img[src="x"], main script')).toHaveCount(0);
    expect(await page.evaluate(() => (window as unknown as { ran?: number }).ran), path).toBeUndefined();
  }
  expect(watched.complaints.filter(c => /Content Security Policy|TrustedHTML/.test(c))).toEqual([]);
});

test("addresses that are made up do no harm", async ({ page, watched }) => {
  for (const path of [
    "/findings/%3Cscript%3E",
    "/users/acme/..%2f..%2fv1%2fme",
    "/users/%00/x",
    "/backtests/%22%3E%3Cimg%20src=x%3E",
  ]) {
    const answered = await page.goto(origin() + path);
    expect(answered?.status()).toBeLessThan(500);
    await expect(page.locator('main img[src="x"], main script')).toHaveCount(0);
  }
  // The browser itself logs that there is no such thing, which is right.
  watched.complaints = watched.complaints.filter(c => !/status of 4\d\d/.test(c));
});
