import { person, post, settled, stolen, tenant } from "./people";
import { ask, expect, open, origin, shoot, test } from "./world";

// What a security team does, from its beginning to its end.

test("a stolen session arrives live, is opened, explained, marked, and its policy is backtested", async ({ page, watched }) => {
  test.setTimeout(240_000);
  const victim = person("victim", { name: "Jean Bartik" });
  const session = await settled(victim);
  await open(page, `/live?tenant=${tenant}`, "Live");
  await expect(page.locator(".live-live")).toBeVisible();
  await stolen(victim, session);

  const entry = page.locator(".feed > li", { hasText: victim.name });
  await expect(entry.first()).toBeVisible({ timeout: 60_000 });
  await expect(entry.filter({ hasText: "SES-01" }).first()).toBeVisible();
  await page.getByRole("button", { name: "Pause" }).click(); // a busy feed runs away under the pointer
  await shoot(page, "journey-live", false);
  // The feed is ahead of the history by a moment: the page asks again, and the browser complains of the first answers.
  await entry.filter({ hasText: "SES-01" }).getByRole("link", { name: "SES-01" }).first().click();

  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Session used from a second network and device");
  watched.complaints = watched.complaints.filter(c => !/404.*details/.test(c));
  await expect(page.getByRole("main")).toContainText("Jean Bartik");
  await expect(page.getByRole("main")).toContainText("Tokyo");
  await expect(page.getByRole("main")).toContainText("stolen-session");
  const triage = page.getByRole("complementary", { name: "Triage" });
  await triage.getByLabel("Comment").fill("Jean is on holiday; this was not her.");
  await triage.getByRole("button", { name: "True positive" }).click();
  await expect(triage.getByRole("button", { name: "True positive" })).toHaveAttribute("aria-pressed", "true");
  await shoot(page, "journey-marked");
  const id = page.url().split("/findings/")[1]?.split("?")[0] ?? "";
  await ask(page, `/v1/findings/${id}`, () => true);
  await ask(page, `/v1/rules?tenant=${tenant}`, a =>
    a.rules.some((r: { detection: string; true_positive: number }) => r.detection === "SES-01" && r.true_positive > 0),
  );

  await page.getByRole("navigation").getByRole("link", { name: "Rules" }).click();
  await expect(page.getByRole("row", { name: /SES-01/ }).first()).toContainText(/\d+ of \d+ judged/);
  await page.getByRole("navigation").getByRole("link", { name: "Policies" }).click();
  const editor = page.getByLabel("Policies (YAML)");
  await expect(editor).toHaveValue(/name: stolen-session/);
  await editor.fill("policies: [{name: Not A Name, when: 'nonsense('}]");
  await page.getByRole("button", { name: "Check only" }).click();
  await expect(page.getByText("These policies cannot be loaded.")).toBeVisible();
  await page.getByRole("button", { name: "Back to those in force" }).click();
  const yaml = await editor.inputValue();
  const tamed = yaml.replace(/(- name: stolen-session\n(?:.*\n)*?\s+action: )revoke_session/, "$1step_up");
  expect(tamed).not.toBe(yaml);
  await editor.fill(tamed);
  await page.getByRole("combobox", { name: /Of the last/ }).selectOption("1");
  await page.getByRole("button", { name: "Backtest", exact: true }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Backtest" })).toBeVisible();
  const beside = page.getByRole("region", { name: "Side by side" });
  await expect(beside).toContainText("sessions ended", { timeout: 120_000 });
  // Another policy ends the session in its place.
  await expect(page.getByRole("row", { name: /stolen-session/ })).toContainText(/−\d/);
  await shoot(page, "journey-backtest");
  await page.getByRole("button", { name: "Edit this again" }).click();
  await expect(editor).toHaveValue(tamed);
  await page.getByRole("button", { name: "Back to those in force" }).click();
  await expect(editor).toHaveValue(yaml);
  await expect(page.getByRole("row", { name: /what was decided/ }).first()).toContainText("done");
});

test("a stream is verified, paused, and goes on", async ({ page }) => {
  await open(page, "/streams", "Streams");
  const one = page.getByRole("region", { name: /app\.acme/ });
  await one.getByRole("button", { name: /Verify/ }).click();
  await expect(one.getByRole("status").first()).not.toBeEmpty();
  await one.getByRole("button", { name: /Pause/ }).click();
  await expect(one.locator(".facts")).toContainText("paused");
  await expect(one).toContainText("paused by an operator");
  await one.getByRole("button", { name: /Go on/ }).click();
  await expect(one.locator(".facts")).toContainText("enabled");
  await expect(one.getByRole("button", { name: /Pause/ })).toBeVisible();
  await ask(page, `/v1/audit?action=stream.`, a => a.entries.length >= 3);
});

test("a record that could not be taken in is seen, looked at, mended and replayed", async ({ page }) => {
  // An event in our own form, sent as if it were Okta's.
  const lost = person("lost");
  const record = { kind: "sign_in", tenant, user: { id: lost.id }, time: new Date().toISOString(), source: { id: lost.id } };
  await post(JSON.stringify(record), "okta");
  await ask(page, "/v1/deadletters?stage=ingest", a => a.dead_letters.some((l: { format: string }) => l.format === "okta"));
  await open(page, "/deadletters?stage=ingest", "Dead letters");
  await page
    .getByRole("button", { name: /^Look at/ })
    .first()
    .click();
  await expect(page).toHaveURL(/letter=/);
  const letter = page.getByRole("region", { name: "One letter" });
  await expect(letter.getByRole("heading", { name: "One letter" })).toBeFocused();
  await expect(letter.locator("pre")).toContainText(lost.id);
  await shoot(page, "journey-dead-letter");
  await letter.getByLabel(/Take it for/).fill("event");
  await letter.getByRole("button", { name: "Replay" }).click();
  await expect(letter.getByRole("button", { name: /Put it back/ })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(letter.getByRole("status")).toContainText(/\w{4}/);
  await expect(letter.locator(".error-note")).toHaveCount(0);
  await expect(letter.getByRole("button", { name: "Replay" })).toBeFocused();
  await letter.getByRole("button", { name: "Close" }).click();
  await expect(page.getByRole("button", { name: /^Look at/ }).first()).toBeFocused();
  await ask(page, `/v1/users?q=${lost.id}`, a => a.users.length > 0);
  await ask(page, "/v1/audit?action=deadletter.replay", a => a.entries.length > 0);
});

test("a token is made, works, is revoked, is refused", async ({ page, playwright }) => {
  await open(page, "/tokens", "API tokens");
  const name = `export-${Date.now().toString(36)}`;
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Role").selectOption("viewer");
  await page.getByLabel("Tenants").fill("globex");
  await page.getByRole("button", { name: "Make it" }).click();
  const secret = await page.locator(".secret").innerText();
  expect(secret).toMatch(/^cst_/);
  const program = await playwright.request.newContext({ extraHTTPHeaders: { Authorization: `Bearer ${secret}` } });
  const asks = async (path: string) => (await program.get(origin() + path)).status();
  await expect.poll(() => asks("/v1/overview")).toBe(200);
  expect(await asks("/v1/audit")).toBe(403);
  // What another tenant has is not there for it.
  await ask(page, `/v1/overview?tenant=${tenant}`, a => a.events > 0);
  const foreign = await (await program.get(`${origin()}/v1/overview?tenant=${tenant}`)).json();
  expect([foreign.events, foreign.series.reduce((n: number, p: { events: number }) => n + p.events, 0)]).toEqual([0, 0]);
  const theirs = await (await program.get(`${origin()}/v1/findings?tenant=${tenant}`)).json();
  expect(theirs.findings).toEqual([]);
  await page.getByRole("button", { name: "I have it" }).click();
  await expect(page.locator(".secret")).toHaveCount(0);
  await page.getByRole("button", { name: `Revoke ${name}` }).click();
  await page.getByRole("button", { name: "Revoke for good" }).click();
  await expect(page.getByRole("row", { name })).toContainText("revoked");
  await expect.poll(() => asks("/v1/overview")).toBe(401);
  await program.dispose();
});

test("a viewer looks, may do nothing, and is told so", async ({ page, stranger }) => {
  const made = await page.request.post(`${origin()}/v1/tokens`, {
    headers: { Origin: origin() },
    data: { name: "viewer", role: "viewer", tenants: ["*"], expires_days: 1 },
  });
  const { token, id } = await made.json();
  const found = await ask(page, "/v1/findings?limit=1", a => a.findings.length > 0);
  await stranger.goto(`${origin()}/rules?find=travel`);
  // Where one wanted to go survives the sign-in, also one that goes wrong at first.
  await stranger.getByLabel("Token").fill("not-a-token-of-anybody");
  await stranger.getByRole("button", { name: "Sign in", exact: true }).click();
  await stranger.getByRole("link", { name: "Sign in another way" }).click();
  await stranger.getByLabel("Token").fill(token);
  await stranger.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(stranger.getByRole("heading", { level: 1, name: "Rules" })).toBeVisible();
  expect(stranger.url()).toBe(`${origin()}/rules?find=travel`);
  for (const name of ["Streams", "Dead letters", "Audit", "API tokens", "Erasures"])
    await expect(stranger.getByRole("navigation").getByRole("link", { name })).toHaveCount(0);
  await stranger.goto(`${origin()}/policies`);
  await expect(stranger.getByText(/takes the role analyst/)).toBeVisible();
  await expect(stranger.getByRole("button", { name: "Backtest" })).toHaveCount(0);
  await stranger.goto(`${origin()}/findings/${encodeURIComponent(found.findings[0].id)}`);
  await expect(stranger.getByText(/You may look but not mark/)).toBeVisible();
  await expect(stranger.getByRole("button", { name: "True positive" })).toBeDisabled();
  for (const path of ["/tokens", "/streams", "/audit"]) {
    await stranger.goto(origin() + path);
    await expect(stranger.getByRole("main")).toContainText("Not yours to see");
    await expect(stranger.getByRole("main").getByRole("button")).toHaveCount(0);
  }
  const revoked = await page.request.delete(`${origin()}/v1/tokens/${id}`, { headers: { Origin: origin() } });
  expect(revoked.ok()).toBe(true);
});

test("links open with their filters, time and tenant as they were", async ({ page }) => {
  const from = "2026-11-01T00:00:00.000Z";
  const to = "2026-11-02T00:00:00.000Z";
  await open(page, "/alerts?kind=user&severity=high,medium&state=open&user=nobody&range=7d&tenant=acme", "Alerts");
  await expect(page.getByLabel("About")).toHaveValue("user");
  await expect(page.getByRole("checkbox", { name: "high" })).toBeChecked();
  await expect(page.getByRole("checkbox", { name: "critical" })).not.toBeChecked();
  await expect(page.getByLabel("Person")).toHaveValue("nobody");
  await expect(page.getByLabel("Time", { exact: true })).toHaveValue("7d");
  await expect(page.getByLabel("Tenant")).toHaveValue("acme");
  await expect(page.getByText("Nobody was told of anything of that kind")).toBeVisible();
  const asked = page.waitForRequest(r => r.url().includes("/v1/audit"));
  await open(page, `/audit?actor=operator&outcome=refused&from=${from}&to=${to}`, "Audit");
  const query = new URL((await asked).url()).searchParams;
  expect(query.get("actor")).toBe("operator");
  expect(query.get("outcome")).toBe("refused");
  expect(query.get("from")).toBe(from);
  expect(query.get("to")).toBe(to);
  await page.getByRole("button", { name: "Clear filters" }).click();
  await expect(page).not.toHaveURL(/actor=/);
  await expect(page).toHaveURL(/from=2026-11-01/);
  await open(page, "/rules?find=travel&judged=not", "Rules");
  await expect(page.getByLabel("Rule", { exact: true })).toHaveValue("travel");
  await expect(page.getByRole("row", { name: /SES-01/ })).toHaveCount(0);
  await page.goBack();
  await expect(page.getByRole("heading", { level: 1, name: "Audit" })).toBeVisible();
});

test("a filter that was typed holds when the next click is another filter; going back stays where one was", async ({
  page,
}) => {
  await open(page, "/findings?range=30d", "Findings");
  await page.getByLabel("Detection").fill("SES-01");
  await page.getByRole("checkbox", { name: "critical" }).check();
  await page.getByRole("checkbox", { name: "high" }).check();
  await expect(page).toHaveURL(/detection=SES-01/);
  await expect(page).toHaveURL(/severity=critical(,|%2C)high/);
  await expect(page).toHaveURL(/range=30d/);
  await open(page, "/rules?range=30d", "Rules");
  const last = page.getByRole("row").last().getByRole("link").first();
  await last.scrollIntoViewIfNeeded();
  const before = await page.evaluate(() => scrollY);
  expect(before).toBeGreaterThan(0);
  await last.click();
  await expect(page.getByRole("heading", { level: 1, name: "Findings" })).toBeFocused();
  expect(await page.evaluate(() => scrollY)).toBe(0);
  await page.goBack();
  await expect(page.getByRole("heading", { level: 1, name: "Rules" })).toBeFocused();
  await expect.poll(() => page.evaluate(() => scrollY)).toBeGreaterThan(0);
});

test("a policy's name leads to it, opened", async ({ page }) => {
  await open(page, "/policies", "Policies");
  const one = page.locator("#policy-stolen-session");
  await page.getByRole("row").getByRole("link", { name: "stolen-session" }).click();
  await expect(one).toHaveAttribute("open", "");
  await expect(one).toBeInViewport();
  await page.goto("about:blank");
  await open(page, "/policies?range=7d#policy-stolen-session", "Policies");
  await expect(one).toHaveAttribute("open", "");
  await expect(one.locator("summary")).toBeFocused();
});

test("single letters can be turned off as commands, and Escape closes the menu of a narrow window", async ({ page }) => {
  await ask(page, "/v1/findings", a => a.findings.length > 1);
  await open(page, "/findings", "Findings");
  await expect(page.locator("tbody tr").first()).toBeVisible();
  await page.locator(".settings summary").click();
  const letters = page.getByRole("group", { name: "Single letters as commands" });
  await letters.getByRole("radio", { name: "off" }).check();
  await page.keyboard.press("Escape");
  await expect(page.getByText("Keys", { exact: true })).toHaveCount(0);
  await page.keyboard.press("j");
  await expect(page.locator("tbody tr:focus-within")).toHaveCount(0);
  await page.locator(".settings summary").click();
  await letters.getByRole("radio", { name: "on" }).check();
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await expect(page.locator("tbody tr:focus-within")).toHaveCount(1);
  await page.setViewportSize({ width: 500, height: 800 });
  const menu = page.getByRole("button", { name: "Views" });
  await menu.click();
  await expect(menu).toHaveAttribute("aria-expanded", "true");
  await page.keyboard.press("Escape");
  await expect(menu).toHaveAttribute("aria-expanded", "false");
  await expect(menu).toBeFocused();
});

test("a keyboard is enough", async ({ page }) => {
  await open(page, "/rules", "Rules");
  await expect(page.getByRole("row", { name: /[A-Z]+-\d/ }).first()).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("main")).toBeFocused();
  await page.keyboard.press("Tab");
  await expect(page.getByLabel("Rule", { exact: true })).toBeFocused();
  await page.keyboard.type("SES");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/find=SES/);
  await expect(page.getByRole("row", { name: /NET-01/ })).toHaveCount(0);
  const first = page.getByRole("row").nth(1).getByRole("link").first();
  await first.focus();
  await page.keyboard.press("ArrowDown");
  await expect(page.getByRole("row").nth(2).getByRole("link").first()).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Findings" })).toBeFocused();
  await expect(page).toHaveURL(/detection=SES-/);
});
