import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BrowserContext, test as base, expect, type Page } from "@playwright/test";

export { expect };

/** address is the one-time link that the demo printed; origin is where it is. */
export const address = () => process.env.COUNTERSIGN_LINK ?? "";
export const origin = () => new URL(address()).origin;

/** ingest is where events are sent, data the directory with the token for it. */
export const ingest = () => process.env.COUNTERSIGN_INGEST ?? "";
export const data = () => process.env.COUNTERSIGN_DATA ?? "";

export const shots = new URL("../../.cache/web/", import.meta.url).pathname;

/** shoot keeps a picture of the page in .cache/web, for people and for docs/dashboard.md. */
export async function shoot(page: Page, name: string, fullPage = true): Promise<void> {
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage, animations: "disabled" });
}

/**
 * picture keeps what a window of 1280 by 860 px shows, for docs/dashboard.md: SHOTS names the folder, without it nothing is
 * done. `make screenshots` makes them small.
 */
export async function picture(page: Page, name: string): Promise<void> {
  if (!process.env.SHOTS) return;
  const size = page.viewportSize();
  await page.setViewportSize({ width: 1280, height: 860 });
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`), animations: "disabled" });
  if (size) await page.setViewportSize(size);
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at as they come
type Anything = any;

/** ask asks the API as who is signed in, until the answer is as it should be: what was sent takes a moment to arrive. */
export async function ask(page: Page, path: string, good: (answer: Anything) => boolean = () => true): Promise<Anything> {
  let answer: Anything;
  await expect
    .poll(
      async () => {
        const response = await page.request.get(origin() + path);
        if (!response.ok()) return `${response.status()} ${await response.text()}`;
        answer = await response.json();
        return good(answer) ? "good" : JSON.stringify(answer).slice(0, 500);
      },
      { message: path, timeout: 60_000 },
    )
    .toBe("good");
  return answer;
}

// The link works once; what it opened is kept for the tests that follow.
let cookies: Awaited<ReturnType<BrowserContext["cookies"]>> | undefined;
const kept = () => `${shots}session.json`;

/**
 * test signs in before each test and looks afterwards that nothing was asked of another host, and that the console did
 * not complain. `page` is the signed-in page, `stranger` a browser that is nobody.
 */
export const test = base.extend<{ stranger: Page; watched: { outside: string[]; complaints: string[] } }>({
  watched: async ({ context }, use) => {
    const watched = { outside: [] as string[], complaints: [] as string[] };
    context.on("request", r => {
      if (new URL(r.url()).origin !== origin() && !/^(data|blob|about):/.test(r.url())) watched.outside.push(r.url());
    });
    context.on("console", m => {
      if (m.type() === "error" || m.type() === "warning") watched.complaints.push(`${m.text()} (${m.location().url})`);
    });
    context.on("weberror", e => watched.complaints.push(String(e.error())));
    await use(watched);
    expect(watched.outside, "requests to other hosts").toEqual([]);
    expect(watched.complaints, "complaints in the console").toEqual([]);
  },
  page: async ({ page, context, watched }, use) => {
    void watched;
    if (!cookies && existsSync(kept())) {
      const session = JSON.parse(readFileSync(kept(), "utf8"));
      if (session.address === address()) cookies = session.cookies; // a worker began anew after a failure
    }
    if (cookies) {
      await context.addCookies(cookies);
    } else {
      await page.goto(address());
      await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
      cookies = await context.cookies();
      writeFileSync(kept(), JSON.stringify({ address: address(), cookies }), { mode: 0o600 });
    }
    await use(page);
  },
  stranger: async ({ browser }, use) => {
    const context = await browser.newContext();
    await use(await context.newPage());
    await context.close();
  },
});

/** open goes to a view and waits for its title. */
export async function open(page: Page, path: string, title: string | RegExp): Promise<void> {
  await page.goto(origin() + path);
  await expect(page.getByRole("heading", { level: 1, name: title })).toBeVisible();
}

const axe = readFileSync(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** accessible looks for what axe calls serious or critical, with the page as it is. */
export async function accessible(page: Page): Promise<void> {
  await expect(page.locator("main .loading")).toHaveCount(0); // it fades in, and half of it has no contrast
  // Not as an element of the page, which its content security policy forbids, but beside it.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    type Result = { violations: { id: string; impact: string; nodes: { target: string[]; failureSummary: string }[] }[] };
    const result = await (window as unknown as { axe: { run(): Promise<Result> } }).axe.run();
    return result.violations
      .filter(v => v.impact === "serious" || v.impact === "critical")
      .flatMap(v => v.nodes.slice(0, 5).map(n => `${v.id}: ${n.target.join(" ")}: ${n.failureSummary}`));
  });
  expect(found, "axe's serious findings").toEqual([]);
}

/** fits looks that nothing spills over the side of a window of 360 px, in the dark, and keeps a picture. */
export async function fits(page: Page, name: string): Promise<void> {
  const size = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 740 });
  await page.emulateMedia({ colorScheme: "dark" });
  const spill = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await shoot(page, `${name}-phone-dark`);
  expect(spill, "pixels over the side").toBeLessThanOrEqual(0);
  await accessible(page);
  await page.emulateMedia({ colorScheme: null });
  if (size) await page.setViewportSize(size);
}
