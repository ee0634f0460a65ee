import { readdirSync, readFileSync } from "node:fs";
import { person, settled, stolen, tenant } from "./people";
import { expect, open, origin, shoot, test } from "./world";

// The history goes away: the page says so, questions are answered with 503, the pipeline and the live feed go on.

/** engine is the process of ClickHouse: the child of countersign. */
function engine(): number | undefined {
  for (const pid of readdirSync("/proc").filter(name => /^\d+$/.test(name))) {
    try {
      const parent = readFileSync(`/proc/${pid}/stat`, "utf8")
        .replace(/^.*\) /, "")
        .split(" ")[1];
      if (parent === process.env.COUNTERSIGN_PID && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("engine-child"))
        return Number(pid);
    } catch {
      // it has ended meanwhile
    }
  }
  return undefined;
}

test("while the history stands still the page says so, the live feed goes on, and all comes back", async ({
  page,
  watched,
}) => {
  test.skip(process.platform !== "linux", "finds the engine in /proc");
  test.setTimeout(300_000);
  await open(page, "/sources", "Sources");
  await expect(page.getByRole("region", { name: "Pipeline" })).toContainText("answers");
  const pid = engine();
  expect(pid, "the engine's process").toBeTruthy();
  process.kill(pid as number, "SIGSTOP");
  try {
    await expect
      .poll(
        async () => {
          const answer = await page.request.get(`${origin()}/v1/overview`, { timeout: 90_000 });
          return [answer.status(), Number(answer.headers()["retry-after"]) > 0];
        },
        { timeout: 120_000 },
      )
      .toEqual([503, true]);
    await open(page, `/live?tenant=${tenant}`, "Live");
    await expect(page.locator(".live-live")).toBeVisible({ timeout: 60_000 });
    const witness = person("outage", { name: "Betty Holberton" });
    await stolen(witness, await settled(witness));
    await expect(page.locator(".feed > li", { hasText: witness.name }).first()).toBeVisible({ timeout: 60_000 });
    await open(page, "/", "Overview");
    await expect(page.getByText("The history is away.").first()).toBeVisible({ timeout: 90_000 });
    await shoot(page, "outage", false);
  } finally {
    process.kill(pid as number, "SIGCONT");
  }
  await expect(page.locator(".tile").first()).toBeVisible({ timeout: 120_000 });
  await expect(page.getByRole("main").getByText("The history is away.")).toHaveCount(0, { timeout: 60_000 });
  // The browser itself logs each 503, which is what was wanted, and each 422: a question that was on its way when the engine
  // stood still takes too long by the engine's own clock once it goes on.
  watched.complaints = watched.complaints.filter(c => !/status of (503|422)/.test(c));
});

test("a history that dies is started again, and nothing is lost", async ({ page, watched }) => {
  test.skip(process.platform !== "linux", "finds the engine in /proc");
  test.setTimeout(300_000);
  const pid = engine();
  expect(pid, "the engine's process").toBeTruthy();
  const witness = person("restart", { name: "Ruth Teitelbaum" });
  process.kill(pid as number, "SIGKILL");
  await stolen(witness, await settled(witness));
  await expect.poll(() => engine() !== undefined && engine() !== pid, { timeout: 120_000 }).toBe(true);
  await expect
    .poll(
      async () => {
        const answer = await page.request.get(`${origin()}/v1/findings?tenant=${tenant}&user=${witness.id}`);
        return answer.ok() && (await answer.json()).findings.length > 0;
      },
      { timeout: 120_000 },
    )
    .toBe(true);
  await open(page, "/", "Overview");
  await expect(page.locator(".tile").first()).toBeVisible({ timeout: 60_000 });
  watched.complaints = watched.complaints.filter(c => !c.includes("503"));
});
