import { accessible, expect, fits, open, origin, shoot, test } from "./world";

test("the overview counts, and grows by itself", async ({ page }) => {
  // The company's older days are sent first.
  await open(page, "/?range=30d", "Overview");
  await expect(page.locator(".live-live")).toBeVisible();
  const events = page.locator(".tile", { hasText: "Events" }).locator("b");
  const number = async () => Number((await events.innerText()).replace(/\D/g, ""));
  await expect.poll(number, { timeout: 60_000 }).toBeGreaterThan(0);
  const before = await number();
  await expect.poll(number, { timeout: 60_000 }).toBeGreaterThan(before);
  await expect(page.locator(".tile", { hasText: "Step-ups open" }).locator("b")).not.toHaveText("0");
});

test("the chart has bars of events and findings, can be walked by keyboard, and is a table too", async ({ page }) => {
  await open(page, "/", "Overview");
  const chart = page.getByRole("img", { name: /events and .* findings over time/ });
  await expect(chart.locator("path.tone-fill-events")).toHaveAttribute("d", /M/, { timeout: 60_000 });
  await chart.focus();
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  await expect(page.locator(".chart .tip")).toContainText("events");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/from=.*&to=/);
  await page.goBack();
  await page.locator(".overview-chart summary").click();
  await expect(page.locator(".overview-chart tbody tr").first()).toBeVisible();
});

test("findings and step-ups are listed with what they are about", async ({ page }) => {
  await open(page, "/", "Overview");
  const first = page.getByRole("region", { name: "Latest findings" }).getByRole("listitem").first();
  await expect(first).toContainText(/[A-Z]{2,5}-\d{2}/, { timeout: 60_000 });
  await expect(first.locator(".severity")).toBeVisible();
  await page.getByRole("link", { name: "All open" }).click();
  await expect(page).toHaveURL(/\/step-ups\?status=open/);
  await expect(page.getByRole("heading", { level: 1, name: "Step-ups" })).toBeFocused();
  const row = page.getByRole("row").nth(1);
  await row.getByRole("link").first().click();
  await expect(page.getByRole("heading", { level: 1, name: "Step-up", exact: true })).toBeVisible();
  await expect(page.getByRole("region", { name: "Because of" }).getByRole("listitem").first()).toBeVisible();
  await accessible(page);
});

test("it says how long enforcement takes, and how the sources are", async ({ page }) => {
  await open(page, "/?range=7d", "Overview");
  const stages = page.getByRole("region", { name: "From event to enforcement" }).locator(".stages > li");
  await expect(stages.filter({ hasText: "Decided" }).locator("b")).toHaveText(/\d+ (ms|s)/);
  await expect(stages.filter({ hasText: "Delivered" })).toBeVisible();
  const sources = page.getByRole("region", { name: "Sources" });
  await expect(sources.getByRole("row").nth(1)).toContainText(/in time|late|quiet|all refused/);
  // Both views judge a source by the same rule.
  const name = await sources.getByRole("row").nth(1).locator("td").first().locator("bdi").first().innerText();
  const state = await sources.getByRole("row").nth(1).locator("td").nth(1).innerText();
  await page.getByRole("link", { name: "All sources" }).click();
  await expect(page.getByRole("row").filter({ hasText: name }).first()).toContainText(state);
});

test("every span of time can be chosen, and stays in links", async ({ page }) => {
  await open(page, "/", "Overview");
  for (const range of ["1h", "6h", "7d", "30d", "90d"]) {
    const answered = page.waitForResponse(r => r.url().includes("/v1/overview"));
    await page.getByLabel("Time", { exact: true }).selectOption(range);
    expect((await answered).status()).toBe(200);
    await expect(page).toHaveURL(new RegExp(`range=${range}`));
  }
  await page.getByRole("navigation").getByRole("link", { name: "Map" }).click();
  await expect(page).toHaveURL(/\/map\?range=90d/);
  await page.getByLabel("Time", { exact: true }).selectOption("own");
  await page.getByRole("dialog").getByLabel("From").fill("2026-01-01T00:00");
  await page.getByRole("dialog").getByLabel("To").fill("2026-01-02T00:00");
  await page.getByRole("dialog").getByRole("button", { name: "Show" }).click();
  await expect(page).toHaveURL(/from=2025-12-31T23/); // Berlin's midnight
});

test("an alert's link leads to the person", async ({ page }) => {
  const { findings } = await (await page.request.get(`${origin()}/v1/findings?limit=1`)).json();
  const { tenant, user } = findings[0];
  await page.goto(`${origin()}/?tenant=${encodeURIComponent(tenant)}&user=${encodeURIComponent(user.id)}`);
  await expect(page).toHaveURL(new RegExp(`/users/${tenant}/${user.id}`));
});

test("while the history is away the page says so, and comes back by itself", async ({ page, watched }) => {
  await open(page, "/", "Overview");
  let away = true;
  await page.route("**/v1/overview*", route =>
    away
      ? route.fulfill({
          status: 503,
          headers: { "Retry-After": "1", "Content-Type": "application/problem+json" },
          body: JSON.stringify({
            status: 503,
            type: "urn:countersign:problem:history-away",
            title: "The history is away",
            detail: "It is not available now.",
          }),
        })
      : route.fallback(),
  );
  await page.reload();
  await expect(page.getByText("The history is away.").first()).toBeVisible();
  await shoot(page, "away", false);
  away = false;
  await expect(page.locator(".tile").first()).toBeVisible({ timeout: 15_000 });
  await expect(page.getByText("The history is away.")).toHaveCount(0);
  // The browser itself logs an answer of 503, which is what was wanted.
  watched.complaints = watched.complaints.filter(c => !c.includes("503"));
});

test("it is accessible in both themes, and fits a phone", async ({ page }) => {
  await open(page, "/", "Overview");
  await expect(page.locator(".tile").first()).toBeVisible();
  await expect(page.getByRole("region", { name: "By rule" }).getByRole("listitem").first()).toBeVisible();
  await accessible(page);
  await shoot(page, "overview");
  await page.locator(".settings summary").click();
  await page.getByRole("radio", { name: "dark" }).check();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await accessible(page);
  await shoot(page, "overview-dark");
  await page.getByRole("radio", { name: "system" }).check();
  await page.keyboard.press("Escape");
  await fits(page, "overview");
});

test("the first load is light and soon usable", async ({ page }) => {
  // What counts is a browser that was never here.
  const client = await page.context().newCDPSession(page);
  await client.send("Network.setCacheDisabled", { cacheDisabled: true });
  const times: number[] = [];
  let bytes = 0;
  for (let i = 0; i < 3; i++) {
    await page.addInitScript(() => {
      new MutationObserver((_, observer) => {
        if (!document.querySelector("nav a") || !document.querySelector("h1")) return;
        observer.disconnect();
        (window as unknown as { usable: number }).usable = performance.now();
      }).observe(document, { childList: true, subtree: true });
    });
    await open(page, "/", "Overview");
    times.push(await page.evaluate(() => (window as unknown as { usable: number }).usable));
    bytes = await page.evaluate(() =>
      [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
        .map(e => e as PerformanceResourceTiming)
        .filter(e => !new URL(e.name).pathname.startsWith("/v1/"))
        .reduce((sum, e) => sum + e.encodedBodySize, 0),
    );
  }
  const interactive = Math.round(times.sort((a, b) => a - b)[1] ?? 0);
  console.log(JSON.stringify({ "web.first_load_kb": Number((bytes / 1000).toFixed(1)), "web.interactive_ms": interactive }));
  expect(bytes).toBeGreaterThan(20_000);
  expect(bytes).toBeLessThan(400_000);
});
