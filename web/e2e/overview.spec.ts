import { accessible, expect, open, shoot, test } from "./world";

test("the overview shows events as they come", async ({ page }) => {
  await open(page, "/", "Overview");
  await expect(page.locator(".live-live")).toBeVisible();
  await expect(page.getByRole("heading", { level: 2 }).first()).toBeVisible();
  await accessible(page);
  await shoot(page, "overview");
});
