import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const program = process.env.COUNTERSIGN ?? new URL("../../bin/countersign", import.meta.url).pathname;
const patience = 60_000;

/** chat is somebody who takes every alert. */
async function chat(): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(204).end());
  });
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** alerts writes a configuration by which the chat is told of everything. */
function alerts(data: string, server: Server): string {
  const secret = join(data, "chat.secret");
  writeFileSync(secret, `whsec_${randomBytes(24).toString("base64")}\n`, { mode: 0o600 });
  const file = join(data, "alerts.json"); // JSON is YAML
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const notify = {
    targets: [{ name: "security-chat", type: "webhook", url, secret_file: secret }],
    routes: [{ name: "everything", to: ["security-chat"], resolved: true }],
    outbound: { plain_http: true, allow_networks: ["127.0.0.0/8"] },
  };
  writeFileSync(file, JSON.stringify({ notify }));
  return file;
}

/**
 * Starts the demo, all of it in one process with a simulated company, on ports and in a folder of its own, and ends it
 * after the last test: with Ctrl-C it must end clean. COUNTERSIGN names another binary than bin/countersign.
 * COUNTERSIGN_LINK with _INGEST, _DATA and _PID name a demo that runs already, and goes on.
 */
export default async function start(): Promise<(() => Promise<void>) | undefined> {
  if (process.env.COUNTERSIGN_LINK) return undefined;
  mkdirSync(new URL("../../.cache/web/", import.meta.url).pathname, { recursive: true });
  const data = mkdtempSync(join(tmpdir(), "countersign-web-"));
  const server = await chat();
  const demo: ChildProcess = spawn(
    program,
    ["up", "--demo", "--data", join(data, "demo"), "--random-ports", "--config", alerts(data, server)],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  const clear = () => {
    server.closeAllConnections();
    server.close();
    rmSync(data, { recursive: true, force: true });
  };
  let output = "";
  const ended = new Promise<string | number>(resolve => {
    demo.on("exit", (code, signal) => resolve(signal ?? code ?? -1));
    demo.on("error", error => resolve(error.message));
  });
  try {
    process.env.COUNTERSIGN_LINK = await new Promise<string>((resolve, reject) => {
      const read = (chunk: Buffer) => {
        output += chunk;
        const link = output.match(/http:\/\/127\.0\.0\.1:\d+\/login\?code=\w+/);
        const ingest = output.match(/http:\/\/127\.0\.0\.1:\d+\/v1\/events/);
        if (!link || !ingest) return;
        process.env.COUNTERSIGN_INGEST = ingest[0];
        resolve(link[0]);
      };
      demo.stdout?.on("data", read);
      demo.stderr?.on("data", read);
      ended.then(status => reject(new Error(`the demo ended (${status}) before it printed a link:\n${output}`)));
      setTimeout(() => reject(new Error(`no link within ${patience / 1000} s:\n${output}`)), patience).unref();
    });
  } catch (error) {
    demo.kill("SIGKILL");
    await ended;
    clear();
    throw error;
  }
  process.env.COUNTERSIGN_DATA = join(data, "demo");
  process.env.COUNTERSIGN_PID = String(demo.pid);
  return async () => {
    demo.kill("SIGINT");
    const late = new Promise<string>(resolve => setTimeout(resolve, 20_000, "nothing within 20 s").unref());
    const status = await Promise.race([ended, late]);
    demo.kill("SIGKILL"); // a no-op when it has ended
    await ended;
    clear();
    if (status !== 0) throw new Error(`Ctrl-C: the demo ended with ${status}:\n${output.slice(-2000)}`);
  };
}
