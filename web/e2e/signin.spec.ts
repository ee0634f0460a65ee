import { address, expect, origin, shoot, test } from "./world";

test("a stranger gets the sign-in form and no data", async ({ stranger }) => {
  const answer = await stranger.goto(`${origin()}/findings?severity=high`);
  const policy = answer?.headers()["content-security-policy"] ?? "";
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toContain("unsafe");
  expect(answer?.headers()["x-content-type-options"]).toBe("nosniff");
  await expect(stranger.getByLabel("Token")).toBeVisible();
  await expect(stranger.getByRole("navigation")).toHaveCount(0);
  const refused = await stranger.request.get(`${origin()}/v1/overview`);
  expect(refused.status()).toBe(401);
  await shoot(stranger, "signin");
});

test("a wrong token is refused with a page that says so", async ({ stranger }) => {
  await stranger.goto(`${origin()}/`);
  await stranger.getByLabel("Token").fill("not-a-token-of-anybody");
  const answered = stranger.waitForResponse(r => r.url().endsWith("/login"));
  await stranger.getByRole("button", { name: "Sign in", exact: true }).click();
  expect((await answered).status()).toBe(403);
  await expect(stranger.getByRole("heading", { level: 1 })).toHaveText("That did not work");
});

test("the one-time link signs in, once, and its code does not stay in the address", async ({ page, stranger, context }) => {
  await page.goto(`${origin()}/`);
  await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  expect(page.url()).not.toContain("code=");
  const cookie = (await context.cookies()).find(c => c.name.endsWith("countersign"));
  expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict" });
  const again = await stranger.request.get(address());
  expect(again.status()).toBe(403);
});

test("an address that nobody knows says so", async ({ page }) => {
  await page.goto(`${origin()}/no/such/view`);
  await expect(page.getByRole("heading", { level: 1, name: "Nothing here" })).toBeVisible();
});
