import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const program = process.env.COUNTERSIGN ?? new URL("../../bin/countersign", import.meta.url).pathname;
const patience = 60_000;

/**
 * Starts the demo, all of it in one process with a simulated company, on ports and in a folder of its own, and ends it
 * after the last test: with Ctrl-C it must end clean. COUNTERSIGN names another binary than bin/countersign.
 */
export default async function start(): Promise<() => Promise<void>> {
  mkdirSync(new URL("../../.cache/web/", import.meta.url).pathname, { recursive: true });
  const data = mkdtempSync(join(tmpdir(), "countersign-web-"));
  const demo: ChildProcess = spawn(program, ["up", "--demo", "--data", data, "--random-ports"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const ended = new Promise<string | number>(resolve => {
    demo.on("exit", (code, signal) => resolve(signal ?? code ?? -1));
    demo.on("error", error => resolve(error.message));
  });
  try {
    process.env.COUNTERSIGN_LINK = await new Promise<string>((resolve, reject) => {
      const read = (chunk: Buffer) => {
        output += chunk;
        const found = output.match(/http:\/\/127\.0\.0\.1:\d+\/login\?code=\w+/);
        const events = output.match(/http:\/\/127\.0\.0\.1:\d+\/v1\/events/);
        if (!found || !events) return;
        process.env.COUNTERSIGN_INGEST = events[0];
        process.env.COUNTERSIGN_DATA = data;
        resolve(found[0]);
      };
      demo.stdout?.on("data", read);
      demo.stderr?.on("data", read);
      ended.then(status => reject(new Error(`the demo ended (${status}) before it printed a link:\n${output}`)));
      setTimeout(() => reject(new Error(`no link within ${patience / 1000} s:\n${output}`)), patience).unref();
    });
  } catch (error) {
    demo.kill("SIGKILL");
    await ended;
    rmSync(data, { recursive: true, force: true });
    throw error;
  }
  return async () => {
    demo.kill("SIGINT");
    const late = new Promise<string>(resolve => setTimeout(resolve, 20_000, "nothing within 20 s").unref());
    const status = await Promise.race([ended, late]);
    demo.kill("SIGKILL"); // a no-op when it has ended
    await ended;
    rmSync(data, { recursive: true, force: true });
    if (status !== 0) throw new Error(`Ctrl-C: the demo ended with ${status}:\n${output.slice(-2000)}`);
  };
}
