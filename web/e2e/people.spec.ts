import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { away, person, settled } from "./people";
import { accessible, ask, data, expect, fits, ingest, open, origin, shoot, test } from "./world";

const tenant = "acme";
let sent = 0;

/** send hands events to ingest, as a company's own identity broker would. */
async function send(events: Record<string, unknown>[]): Promise<void> {
  const token = readFileSync(join(data(), "ingest.token"), "utf8").trim();
  const lines = events.map(event =>
    JSON.stringify({ tenant, source: { id: `e2e-${process.pid}-${Date.now()}-${sent++}` }, ...event }),
  );
  const answer = await fetch(ingest(), {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/x-ndjson" },
    body: lines.join("\n"),
  });
  expect(answer.status, await answer.clone().text()).toBe(200);
}

const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();
const london = { ip: "81.2.69.144", device: { os: "Windows", browser: "Edge", type: "desktop" } };
const tokyo = { ip: "133.11.93.1", device: { os: "Linux", browser: "Firefox", type: "desktop" } };
const ua =
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/157.0.0.0 Safari/537.36 Edg/157.0.0.0";

/** signIn is a person's own sign-in, steal what happens when the session's cookie is used elsewhere. */
const signIn = (user: object, session: string, more: object = {}) => ({
  kind: "sign_in",
  user,
  time: ago(300),
  outcome: "success",
  interactive: true,
  session: { id: session },
  app: { id: "payroll", name: "Payroll" },
  user_agent: ua,
  ...london,
  ...more,
});
const steal = (user: object, session: string, more: object = {}) => ({
  kind: "session_use",
  user,
  time: ago(1),
  outcome: "success",
  session: { id: session },
  app: { id: "payroll", name: "Payroll" },
  ...tokyo,
  ...more,
});

const stolen = "Session used from a second network and device";
const fresh = (name: string) => `${name}-${Date.now().toString(36)}`;

/** opened goes to a user's finding by the list, once the history has it. */
async function openStolen(page: Page, user: string): Promise<void> {
  await open(page, `/findings?user=${user}&detection=SES-01`, "Findings");
  await expect(async () => {
    await page.reload();
    await expect(page.getByRole("link", { name: `SES-01 ${stolen}` })).toBeVisible({ timeout: 4000 });
  }).toPass();
  await page.getByRole("link", { name: `SES-01 ${stolen}` }).click();
  await expect(page.getByRole("heading", { level: 1, name: stolen })).toBeVisible();
}

test("a stolen session is seen arriving live, opened, explained and marked", async ({ page }) => {
  const user = fresh("ada");
  await send([signIn({ id: user, name: "Ada Lovelace" }, `s-${user}`)]);
  await open(page, `/findings?user=${user}&severity=high,critical`, "Findings");
  await expect(page.locator(".live-live")).toBeVisible();
  await expect(page.getByText("Nothing was found")).toBeVisible();
  await send([steal({ id: user, name: "Ada Lovelace" }, `s-${user}`)]);

  // It is announced, not jumped in.
  const news = page.getByRole("button", { name: /new: show/ });
  await expect(news).toBeVisible();
  await expect(page.getByText("Nothing was found")).toBeVisible();
  await news.click();
  await expect(page.getByRole("link", { name: `SES-01 ${stolen}` })).toBeVisible();
  await accessible(page);
  await shoot(page, "findings");

  // The keyboard goes to a row and opens it.
  await page.keyboard.press("j");
  await expect(page.locator("tbody tr:focus-within")).toHaveCount(1);
  await page.getByRole("link", { name: `SES-01 ${stolen}` }).focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: stolen })).toBeVisible();

  // It explains itself: what differs, on a map, what was decided.
  const sides = page.getByRole("table", { name: /What differs/ });
  await expect(sides.getByRole("row", { name: /System \(differs\)/ })).toContainText("Linux");
  await expect(sides.getByRole("row", { name: /Network \(differs\)/ })).toBeVisible();
  await expect(page.getByRole("img", { name: /From .* to |Where it happened/ })).toBeVisible();
  await expect(page.getByRole("heading", { name: "What was considered against it" })).toBeVisible();
  await page.getByRole("button", { name: "Explain in full" }).click();
  await expect(page.getByRole("heading", { name: "The policies, in the order in which they are asked" })).toBeVisible();
  await accessible(page);
  await shoot(page, "finding");

  // It is marked, and stays so.
  await page.getByLabel("Comment").fill("Ada was in London.\nThe cookie was not.");
  await page.getByRole("button", { name: "True positive" }).click();
  await expect(page.getByRole("button", { name: "True positive" })).toHaveAttribute("aria-pressed", "true");
  await page.getByRole("button", { name: "Assign to me" }).click();
  await expect(page.getByText("looks into it")).toBeVisible();
  await expect(page.getByText("Saved.")).toBeVisible();
  await page.reload();
  await expect(page.locator(".triage-now")).toContainText("a true positive");
  await expect(page.locator(".comment").first()).toContainText("The cookie was not.");
  await fits(page, "finding");
});

test("two people who mark at once are told of each other", async ({ page, stranger, context }) => {
  const user = fresh("eve");
  await send([signIn({ id: user }, `s-${user}`), steal({ id: user }, `s-${user}`)]);
  await openStolen(page, user);
  const id = page.url().split("/").pop()?.split("?")[0];
  // In another browser, since this one's console complains of the refusal. It is told nothing of the other's mark at first.
  await stranger.context().addCookies(await context.cookies());
  await stranger.route("**/v1/live", route => route.abort());
  await stranger.goto(page.url());
  await expect(stranger.getByText("Nobody has looked at it yet.")).toBeVisible();
  await stranger.route("**/details", route => route.abort());
  const other = await context.request.put(`${origin()}/v1/findings/${id}/triage`, {
    data: { verdict: "false_positive", comment: "a test of ours" },
    headers: { Origin: origin() },
  });
  expect(other.status()).toBe(200);
  const refused = stranger.waitForResponse(r => r.url().endsWith("/triage"));
  await stranger.getByRole("button", { name: "Acknowledge" }).click();
  expect((await refused).status()).toBe(412);
  await stranger.unroute("**/details");
  await expect(stranger.getByText("Somebody was first.")).toBeVisible();
  await stranger.getByRole("button", { name: "Put mine in its place" }).click();
  await expect(stranger.getByRole("button", { name: "Acknowledge" })).toHaveAttribute("aria-pressed", "true");
});

test("several findings are marked together", async ({ page }) => {
  const user = fresh("kim");
  await send([signIn({ id: user }, `s-${user}`), steal({ id: user }, `s-${user}`)]);
  await openStolen(page, user);
  await open(page, `/findings?user=${user}&triage=open`, "Findings");
  const boxes = page.getByRole("checkbox", { name: /^Choose / });
  await expect(boxes.first()).toBeVisible();
  const many = await boxes.count();
  for (let i = 0; i < many; i++) await boxes.nth(i).check();
  await expect(page.getByText(`${many} chosen`)).toBeVisible();
  await page
    .getByRole("group", { name: "What the chosen findings are" })
    .getByRole("button", { name: "False positive" })
    .click();
  await expect(page.getByText(`${many} of ${many} marked.`)).toBeVisible();
  await expect(page.locator("td[data-label=Triage]").first()).toContainText("false positive");
});

test("a user's time is in lanes, and can be looked at closer", async ({ page }) => {
  const user = fresh("bob");
  await send([signIn({ id: user, name: "Bob Noyce" }, `s-${user}`), steal({ id: user, name: "Bob Noyce" }, `s-${user}`)]);
  await openStolen(page, user);
  await page.getByRole("link", { name: "Bob Noyce" }).first().click();
  await expect(page.getByRole("heading", { level: 1, name: "Bob Noyce" })).toBeVisible();
  for (const lane of ["Findings", "Step-ups", "Places", "Devices", "Networks", "Sessions"]) {
    await expect(page.locator(".lane-group").getByRole("heading", { name: lane, exact: true })).toBeVisible();
  }
  await expect(page.locator(".lane-marks a").first()).toBeVisible();
  await accessible(page);
  await shoot(page, "user");

  // Zooming is in the address, by a button, by the keyboard and by drawing a part.
  await page.getByRole("button", { name: "Zoom in" }).click();
  await expect(page).toHaveURL(/from=.*to=/);
  const once = page.url();
  await page.locator(".lanes-frame").focus();
  await page.keyboard.press("-");
  await expect(page).not.toHaveURL(once);
  const track = await page.locator("[data-track]").boundingBox();
  if (!track) throw new Error("no lanes");
  const before = page.url();
  const row = await page.locator(".lane-row .lane-track").last().boundingBox();
  const y = (row?.y ?? 0) + 6;
  await page.mouse.move(track.x + track.width * 0.3, y);
  await page.mouse.down();
  await page.mouse.move(track.x + track.width * 0.7, y, { steps: 5 });
  await expect(page.locator(".brush")).toBeVisible();
  await page.mouse.up();
  await expect(page).not.toHaveURL(before);

  // One kind of entry at a time, in the address too.
  await page.getByRole("checkbox", { name: "findings" }).check();
  await expect(page).toHaveURL(/kind=finding/);
  await open(page, `/users/${tenant}/${user}?kind=finding`, "Bob Noyce");
  await expect(page.locator(".entry.finding").first()).toBeVisible();
  await expect(page.locator(".entry.event")).toHaveCount(0);
  await fits(page, "user");

  // From there to the session, the network and the app.
  await open(page, `/sessions/${tenant}/s-${user}`, "Session");
  await expect(page.getByRole("link", { name: `SES-01 ${stolen}` })).toBeVisible();
  await accessible(page);
  await fits(page, "session");
  await open(page, `/networks?ip=${tokyo.ip}`, "Network");
  await expect(page.getByRole("link", { name: "Bob Noyce" }).first()).toBeVisible();
  await accessible(page);
  await fits(page, "network");
  await open(page, `/users?q=${user}`, "Users");
  await expect(page.getByRole("link", { name: "Bob Noyce" })).toBeVisible();
  await fits(page, "users");
  await open(page, "/apps", "Apps");
  await accessible(page);
  await fits(page, "apps");
  await open(page, `/apps/${tenant}/payroll`, "Payroll");
  await accessible(page);
  await fits(page, "app");
});

test("what happens to a user while their page is open shows up, at its time", async ({ page }) => {
  const user = fresh("dot");
  const who = { id: user, name: "Dorothy Vaughan" };
  await send([signIn(who, `s-${user}`)]);
  await ask(page, `/v1/users?q=${user}`, a => a.users.length > 0);
  await open(page, `/users/${tenant}/${user}`, "Dorothy Vaughan");
  await expect(page.locator(".live-live")).toBeVisible();
  await expect(page.locator(".entry.event").first()).toBeVisible();
  await send([steal(who, `s-${user}`)]);
  const lane = page.locator(".lane-group", { has: page.getByRole("heading", { name: "Step-ups", exact: true }) });
  await expect(lane).toBeVisible();
  await expect(page.locator(".entry.finding").first()).toBeVisible();
  expect(await lane.locator("svg").getAttribute("width")).toBe(await page.locator("[data-track] svg").getAttribute("width"));
});

test("a journey nobody made, and a sign-in unlike the user, say how they were reckoned", async ({ page }) => {
  const flown = person("flown", { name: "Annie Easley" });
  await settled(flown);
  await away(flown);
  const of = async (detection: string) => {
    const answer = await ask(page, `/v1/findings?user=${flown.id}&detection=${detection}`, a => a.findings.length > 0);
    return `/findings/${encodeURIComponent(answer.findings[0].id)}`;
  };
  await open(page, await of("LOC-01"), "Impossible travel");
  const journey = page.getByRole("region", { name: "The journey nobody made" });
  const term = (name: string) => journey.locator(".term", { hasText: name }).locator("b");
  const number = async (name: string) => Number((await term(name).innerText()).replace(/[^\d.]/g, ""));
  await expect(term("uncertain there")).toContainText("km");
  const [between, there, here, least] = [
    await number("between the places"),
    await number("uncertain there"),
    await number("uncertain here"),
    await number("at the least"),
  ];
  expect(between).toBeGreaterThan(8_000);
  expect(Math.abs(between - there - here - least)).toBeLessThanOrEqual(3); // each is rounded
  await expect(journey).toContainText(/[\d,]+ km\/h/);
  await expect(journey).toContainText("times an airliner's speed");
  await expect(journey).toContainText(/is impossible, high ✓/);
  // A time that is pointed at is told in UTC.
  const time = page.locator(".finding-badges time");
  await time.hover();
  const told = await time.evaluate(e => getComputedStyle(e, "::after").content);
  expect(told).toContain(
    `${new Date((await time.getAttribute("datetime")) ?? "").toISOString().slice(0, 19).replace("T", " ")} UTC`,
  );
  await accessible(page);
  await shoot(page, "finding-travel");

  await open(page, await of("FAM-01"), "Unfamiliar sign-in");
  const score = page.getByRole("region", { name: "How unlike the user it is" });
  await expect(score.getByRole("listitem").filter({ hasText: "Network" })).toContainText("likelier of somebody else");
  await expect(score.getByRole("listitem").filter({ hasText: "Together" })).toContainText(/\+\d+\.\d/);
  const parts = await score.locator(".part-value").allInnerTexts();
  const values = parts.map(p => Number(p.replace("−", "-")));
  const sum = values.pop() ?? 0;
  expect(Math.abs(values.reduce((a, b) => a + b, 0) - sum)).toBeLessThan(0.3); // each is rounded
  await accessible(page);
  await shoot(page, "finding-unfamiliar");
});

test("what an attacker writes stays text", async ({ page }) => {
  const user = fresh("mallory");
  const payload = '<img src=x onerror="window.pwned=1">"><script>window.pwned=1</script>';
  const who = { id: user, name: `M ${payload}` };
  const dressed = { app: { id: "evil", name: payload }, user_agent: payload };
  await send([
    signIn(who, `s-${user}`, { ...dressed, device: { ...london.device, name: payload } }),
    steal(who, `s-${user}`, { ...dressed, device: { ...tokyo.device, name: `\u202e${payload}` } }),
  ]);
  await openStolen(page, user);
  await expect(page.getByText(payload).first()).toBeVisible();
  const harmless = async () => {
    expect(await page.evaluate(() => (window as { pwned?: number }).pwned)).toBeUndefined();
    expect(await page.locator("#app img[src=x], #app script").count()).toBe(0);
  };
  await harmless();
  for (const path of [
    `/findings?user=${user}`,
    `/users/${tenant}/${user}`,
    `/users?q=${user}`,
    `/sessions/${tenant}/s-${user}`,
    `/networks?ip=${tokyo.ip}`,
    `/apps/${tenant}/evil`,
  ]) {
    await page.goto(origin() + path);
    await expect(page.getByText(payload).first()).toBeVisible();
    await harmless();
  }
});

test("a person is erased only by their id, with a reason", async ({ page }) => {
  const user = fresh("zoe");
  await send([signIn({ id: user, name: "Zoe Erased" }, `s-${user}`), steal({ id: user, name: "Zoe Erased" }, `s-${user}`)]);
  await openStolen(page, user);
  await open(page, `/users/${tenant}/${user}`, "Zoe Erased");
  await page.getByRole("button", { name: "Erase this person…" }).click();
  const dialog = page.getByRole("dialog", { name: "Erase a person" });
  const erase = dialog.getByRole("button", { name: "Erase", exact: true });
  await expect(erase).toBeDisabled();
  await dialog.getByLabel(/id once more/).fill("somebody-else");
  await dialog.getByLabel(/audit trail/).fill("asked for it");
  await expect(erase).toBeDisabled();
  await dialog.getByLabel(/id once more/).fill(user);
  await accessible(page);
  await shoot(page, "erase");
  await erase.click();
  await expect(page.getByText(/is being erased/)).toBeVisible();
  await expect(async () => {
    const answer = await page.request.get(`${origin()}/v1/findings?user=${user}`);
    expect(((await answer.json()) as { findings: unknown[] }).findings).toEqual([]);
  }).toPass({ timeout: 60_000 });
});

test("without the history the page says so, and marks are taken all the same", async ({ page, stranger, context }) => {
  const user = fresh("ivy");
  await send([signIn({ id: user }, `s-${user}`), steal({ id: user }, `s-${user}`)]);
  await openStolen(page, user);
  // In another browser, since this one's console complains of each answer of 503.
  await stranger.context().addCookies(await context.cookies());
  await stranger.route("**/details", route =>
    route.fulfill({
      status: 503,
      headers: { "Retry-After": "1", "Content-Type": "application/problem+json" },
      body: JSON.stringify({
        type: "urn:countersign:problem:history-away",
        title: "The history is away",
        status: 503,
        detail: "The history is not available now.",
      }),
    }),
  );
  await stranger.goto(page.url());
  await expect(stranger.getByText("The history is away")).toBeVisible();
  await stranger.getByRole("button", { name: "Acknowledge" }).click();
  await expect(stranger.getByText(/^Saved/)).toBeVisible();
  await shoot(stranger, "finding-without-history");
  await stranger.unroute("**/details");
  await expect(stranger.getByRole("heading", { level: 1, name: stolen })).toBeVisible(); // asked again by itself
  await expect(stranger.locator(".triage-now")).toContainText("acknowledged");
});

test("who may not mark sees why, and what is not there is said to be missing", async ({ page, stranger, context }) => {
  const made = await context.request.post(`${origin()}/v1/tokens`, {
    data: { name: fresh("viewer"), role: "viewer", tenants: [tenant], expires_days: 1 },
    headers: { Origin: origin() },
  });
  expect(made.ok(), await made.text()).toBe(true);
  const { token } = (await made.json()) as { token: string };
  const user = fresh("uma");
  await send([signIn({ id: user }, `s-${user}`), steal({ id: user }, `s-${user}`)]);
  await openStolen(page, user);
  const address = page.url();
  await stranger.goto(`${origin()}/`);
  await stranger.getByLabel("Token").fill(token);
  await stranger.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(stranger.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  await stranger.goto(address);
  await expect(stranger.getByText("You may look but not mark")).toBeVisible();
  await expect(stranger.getByRole("button", { name: "Acknowledge" })).toBeDisabled();
  await stranger.goto(`${origin()}/users/${tenant}/${user}`);
  await expect(stranger.getByText("Not yours to see")).toBeVisible();
  await stranger.goto(`${origin()}/findings/${"0".repeat(32)}`);
  await expect(stranger.getByText("Not found.")).toBeVisible();
});
