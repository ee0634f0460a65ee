import { person, settled, stolen, tenant } from "./people";
import { accessible, ask, expect, fits, open, shoot, test } from "./world";

test("what happens shows up at once; a pause holds it back and tells how much", async ({ page }) => {
  await open(page, "/live", "Live");
  const entries = page.locator(".feed > li");
  const newest = () => entries.first().getAttribute("data-entry");
  await expect(entries.first()).toBeVisible();
  await expect(page.locator(".feed > li.fresh").first()).toBeVisible({ timeout: 60_000 });
  await page.getByRole("button", { name: "Pause" }).click();
  const first = await newest();
  await expect(page.getByRole("button", { name: /Go on: \d+ new/ })).toBeVisible({ timeout: 60_000 });
  expect(await newest()).toBe(first);
  await page.getByRole("button", { name: /Go on/ }).click();
  await expect(page.getByRole("button", { name: "Pause" })).toBeVisible();
  await expect.poll(newest).not.toBe(first);
  expect(await entries.count()).toBeLessThanOrEqual(200);
});

test("filters are in the address and hold after a reload", async ({ page }) => {
  const victim = person("filtered");
  await stolen(victim, await settled(victim));
  const answer = await ask(page, `/v1/findings?user=${victim.id}&detection=SES-01`, a => a.findings.length > 0);
  const severity = answer.findings[0].severity;
  await open(page, `/live?tenant=${tenant}`, "Live");
  await expect(page.locator(".feed > li").first()).toBeVisible();
  await page.getByLabel("findings", { exact: true }).check();
  await page.getByLabel(severity, { exact: true }).check();
  await expect(page).toHaveURL(/kind=finding/);
  await expect(page).toHaveURL(new RegExp(`severity=${severity}`));
  await page.reload();
  await expect(page.locator(".feed > li").first()).toBeVisible({ timeout: 60_000 });
  await expect(page.locator(`.feed .severity:not(.severity-${severity})`)).toHaveCount(0);
  await page.getByLabel("Person").fill("nobody-has-this-name");
  await page.keyboard.press("Enter");
  await expect(page.getByText("Nothing passes the filters.")).toBeVisible();
  await page.getByRole("button", { name: "Clear filters" }).click();
  await expect(page.locator(".feed > li").first()).toBeVisible();
});

test("it is accessible and fits a phone", async ({ page }) => {
  await open(page, "/live", "Live");
  await expect(page.locator(".feed > li").first()).toBeVisible();
  await page.getByRole("button", { name: "Pause" }).click();
  await accessible(page);
  await shoot(page, "live", false);
  await fits(page, "live");
});
