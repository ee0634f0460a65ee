// Drives the page at / in a headless Chromium while `countersign up --demo` runs behind it. Usage: node smoke.mjs PROGRAM
// SHOTS, where PROGRAM is the countersign binary and SHOTS the folder for screenshots. Ports are random, data temporary.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [program, shots] = process.argv.slice(2);
const browserPath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(p => p && existsSync(p));
const patience = 60_000; // for anything that the demo must do by itself

let passed = 0;
const failures = [];
async function check(name, body) {
  try {
    await body();
    passed++;
    console.log(`ok    ${name}`);
  } catch (e) {
    failures.push(name);
    console.log(`FAIL  ${name}\n      ${String(e.message ?? e).split("\n").slice(0, 6).join("\n      ")}`);
  }
}
function assert(condition, message) {
  if (!condition) throw new Error(message);
}

// The demo

const data = mkdtempSync(join(tmpdir(), "countersign-web-"));
const demo = spawn(program, ["up", "--demo", "--data", data, "--random-ports"], { stdio: ["ignore", "pipe", "pipe"] });
const ended = new Promise(resolve => {
  demo.on("exit", (code, signal) => resolve(signal ?? code));
  demo.on("error", e => resolve(e.message));
});
let output = "";
const link = new Promise((resolve, reject) => {
  const read = chunk => {
    output += chunk;
    const found = output.match(/http:\/\/127\.0\.0\.1:\d+\/login\?code=\w+/);
    if (found) resolve(found[0]);
  };
  demo.stdout.on("data", read);
  demo.stderr.on("data", read);
  ended.then(status => reject(new Error(`the demo ended (${status}) before it printed a link:\n${output}`)));
  setTimeout(() => reject(new Error(`no link within ${patience / 1000} s:\n${output}`)), patience).unref();
});

// The browser

const number = text => {
  const digits = text.replace(/\D/g, "");
  return digits === "" ? NaN : Number(digits);
};
const visible = { state: "visible", timeout: patience };

async function inBrowser(browser, address) {
  const base = new URL(address).origin;
  const outside = [], complaints = [];
  const open = async options => {
    const context = await browser.newContext({ locale: "en-GB", ...options });
    context.on("request", r => { if (new URL(r.url()).origin !== base && !/^(data|blob|about):/.test(r.url())) outside.push(r.url()); });
    return context;
  };

  await check("a stranger gets the sign-in form and no data", async () => {
    const context = await open({ viewport: { width: 1280, height: 900 } });
    const page = await context.newPage();
    const answer = await page.goto(base + "/");
    const policy = answer.headers()["content-security-policy"] ?? "";
    assert(policy.includes("default-src 'none'") && !policy.includes("unsafe"), `Content-Security-Policy is ${policy || "missing"}`);
    assert(answer.headers()["x-content-type-options"] === "nosniff", "X-Content-Type-Options is missing");
    await page.locator("#signin form").waitFor(visible);
    assert(!(await page.locator("#main").isVisible()), "the counts are visible before signing in");
    const refused = await context.request.get(base + "/v1/overview");
    assert(refused.status() === 401, `/v1/overview answers a stranger ${refused.status()}`);
    await page.screenshot({ path: join(shots, "signin.png") });
    await context.close();
  });

  const context = await open({ viewport: { width: 1280, height: 1100 } });
  const page = await context.newPage();
  page.on("console", m => { if (m.type() === "error" || m.type() === "warning") complaints.push(`${m.text()} (${m.location().url})`); });
  page.on("pageerror", e => complaints.push(String(e)));

  await check("the one-time link signs in", async () => {
    await page.goto(address);
    await page.locator("#main").waitFor(visible);
    assert(new URL(page.url()).pathname === "/" && !page.url().includes("code="), `the code stays in the address ${page.url()}`);
    const cookie = (await context.cookies()).find(c => c.name.endsWith("countersign"));
    assert(cookie?.httpOnly && cookie.sameSite === "Strict", "the session's cookie is not HttpOnly and SameSite=Strict");
  });
  await check("the link works once", async () => {
    const other = await open({});
    const answer = await other.request.get(address);
    assert(answer.status() === 403, `the second use is answered ${answer.status()}`);
    // Without one the browser asks for /favicon.ico, sometimes, and complains that there is none.
    assert((await answer.text()).includes('rel="icon"'), "denied.html names no icon, as index.html does");
    await other.close();
  });
  await check("the feed is live", async () => {
    await page.locator("#live.on").waitFor(visible);
  });
  await check("counts grow", async () => {
    await page.waitForFunction(() => /\d/.test(document.getElementById("events").textContent) && document.getElementById("events").textContent !== "0", null, { timeout: patience });
    const before = number(await page.locator("#events").innerText());
    await page.waitForFunction(n => Number(document.getElementById("events").textContent.replace(/\D/g, "")) > n, before, { timeout: patience });
    console.log(`      ${before} events, then ${await page.locator("#events").innerText()}`);
  });
  await check("findings appear, with their detection and the reason", async () => {
    const first = page.locator("#latest > li").first();
    await first.waitFor(visible);
    const text = await first.innerText();
    assert(/\b[A-Z]{2,5}-\d{2}\b/.test(text), `no detection in "${text}"`);
    await first.locator("summary").click();
    await first.locator("dl dt").first().waitFor(visible);
    assert((await first.locator("dl dd").count()) >= 2, "the evidence is empty");
    await first.scrollIntoViewIfNeeded();
    await page.screenshot({ path: join(shots, "finding.png") });
  });
  await check("the chart has bars of events and of findings", async () => {
    await page.waitForFunction(() => document.querySelector("#chart rect.events") && document.querySelector("#chart rect.found"), null, { timeout: patience });
    const box = await page.locator("#chart svg").boundingBox();
    assert(box && box.width > 400 && box.height > 100, `the chart measures ${JSON.stringify(box)}`);
  });
  await check("a requirement was raised", async () => {
    await page.waitForFunction(() => ["open", "satisfied", "expired"].some(id => Number(document.getElementById(id).textContent.replace(/\D/g, "")) > 0), null, { timeout: patience });
  });
  await check("the ranges can be chosen", async () => {
    for (const range of ["3600", "604800", "86400"]) {
      const answered = page.waitForResponse(r => r.url().includes("/v1/overview"));
      await page.locator("#range").selectOption(range);
      assert((await answered).status() === 200, `range ${range} is answered ${(await answered).status()}`);
    }
  });
  await check("an alert's link shows one user's timeline", async () => {
    const overview = await (await context.request.get(base + "/v1/findings?limit=1")).json();
    const { tenant, user } = overview.findings[0];
    await page.goto(`${base}/?tenant=${encodeURIComponent(tenant)}&user=${encodeURIComponent(user.id)}`);
    await page.locator("#timeline li").first().waitFor(visible);
    const shown = await page.locator("#whom b").textContent();
    assert(shown === `${tenant}/${user.id}`, `the page shows ${shown}`);
    await page.screenshot({ path: join(shots, "user.png"), fullPage: true });
    await page.goto(base + "/");
    await page.locator("#latest li").first().waitFor(visible);
  });
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: join(shots, "overview.png"), fullPage: true });
  await check("it fits a phone, and the dark", async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: "dark" });
    const spill = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    await page.screenshot({ path: join(shots, "phone-dark.png"), fullPage: true });
    assert(spill <= 0, `${spill} px spill over the side`);
  });
  await check("no complaint in the console", () => assert(complaints.length === 0, complaints.join("\n")));
  await check("signing out ends the session", async () => {
    await page.locator("form[action=logout] button").click();
    await page.locator("#signin form").waitFor(visible);
    const answer = await context.request.get(base + "/v1/overview");
    assert(answer.status() === 401, `/v1/overview answers ${answer.status()} after signing out`);
  });
  await context.close();
  await check("nothing is asked of another host", () => assert(outside.length === 0, outside.join("\n")));
}

mkdirSync(shots, { recursive: true });
let browser;
try {
  assert(browserPath, "no Chromium found: set CHROMIUM to one");
  const address = await link;
  browser = await chromium.launch({
    executablePath: browserPath,
    // A browser refuses its sandbox to root; the rest keeps it from calling home.
    args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  await inBrowser(browser, address);
} catch (e) {
  failures.push("set-up");
  console.log(`FAIL  ${e.message}`);
} finally {
  await browser?.close();
  await check("Ctrl-C ends the demo clean", async () => {
    demo.kill("SIGINT");
    const status = await Promise.race([ended, new Promise(resolve => setTimeout(resolve, 20_000, "nothing within 20 s").unref())]);
    assert(status === 0, `it ended with ${status}:\n${output.slice(-2000)}`);
  });
  demo.kill("SIGKILL"); // a no-op when it has ended
  await ended;
  rmSync(data, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failures.length} failed; screenshots in ${shots}`);
process.exitCode = failures.length === 0 ? 0 : 1;
