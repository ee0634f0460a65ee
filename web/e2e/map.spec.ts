import { accessible, expect, fits, open, shoot, test } from "./world";

test("places, how far off they may be, and impossible trips are on the map and beside it", async ({ page }) => {
  await open(page, "/map?range=30d", "Map");
  await expect(page.locator(".map .spot").nth(5)).toBeVisible({ timeout: 60_000 });
  await expect(page.locator(".map .accuracy").first()).toHaveAttribute("d", /M/);
  await expect(page.locator(".map .arc-line").first()).toHaveAttribute("d", /M/);
  const trips = page.getByRole("region", { name: "Impossible trips" }).getByRole("listitem");
  await expect(trips.first()).toContainText("km/h");
  // What is pointed at in the list is the one on the map.
  await trips.first().hover();
  await expect(page.locator(".map .arc.chosen")).toHaveCount(1);
  await page.getByRole("region", { name: "Places" }).getByRole("button").first().focus();
  await expect(page.locator(".map .spot.chosen")).toHaveCount(1);
  await shoot(page, "map", false);
});

test("keys zoom and move it", async ({ page }) => {
  await open(page, "/map?range=30d", "Map");
  const map = page.getByRole("img", { name: /World map/ });
  const world = map.locator("g").first();
  await expect(world).toHaveAttribute("transform", "translate(0 0) scale(1)");
  await map.focus();
  await page.keyboard.press("+");
  await expect(world).toHaveAttribute("transform", /scale\(1\.6\)/);
  const before = await world.getAttribute("transform");
  await page.keyboard.press("ArrowRight");
  await expect(world).not.toHaveAttribute("transform", before ?? "");
  await page.keyboard.press("0");
  await expect(world).toHaveAttribute("transform", "translate(0 0) scale(1)");
  await page.getByRole("button", { name: "Zoom in" }).click();
  await expect(world).toHaveAttribute("transform", /scale\(1\.6\)/);
});

test("it is accessible and fits a phone", async ({ page }) => {
  await open(page, "/map?range=30d", "Map");
  await expect(page.locator(".map .spot").first()).toBeVisible({ timeout: 60_000 });
  await accessible(page);
  await fits(page, "map");
});
