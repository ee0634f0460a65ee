import { readFileSync } from "node:fs";
import { join } from "node:path";

// People of the tests' own, sent to ingest as a source would: the demo's people do what they like, these what a test says.

const hour = 3600_000;

/** A person and what the events say of them. All of it may come from an attacker. */
export interface Person {
  id: string;
  name: string;
  app: string;
  agent: string;
  city: string;
  device: string;
  family: string;
}

export const tenant = "acme";

/** stranger is the address from which sessions are stolen. Nothing is sent there; it is a text in events. */
export const stranger = "133.11.20.30";

/** person makes one that no other test has. */
export function person(id: string, more: Partial<Person> = {}): Person {
  return {
    id: `${id}-${Date.now().toString(36)}`,
    name: "Frances Spence",
    app: "Payroll",
    agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    city: "Berlin",
    device: "frances-laptop",
    family: "hr-idp",
    ...more,
  };
}

/**
 * post sends a body to ingest as it is: in our own form with the token that may say where people are, in a format of others
 * with the one that may send those.
 */
export async function post(body: string, format = ""): Promise<Response> {
  const file = format ? "ingest.token" : "demo.token";
  const token = readFileSync(join(process.env.COUNTERSIGN_DATA ?? "", file), "utf8").trim();
  return await fetch(`${process.env.COUNTERSIGN_INGEST}${format && `?format=${format}`}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/x-ndjson" },
    body,
  });
}

async function send(events: object[]): Promise<void> {
  const answer = await post(events.map(e => JSON.stringify(e)).join("\n"));
  if (!answer.ok) throw new Error(`ingest answers ${answer.status}: ${await answer.text()}`);
}

let sent = 0;

function event(p: Person, kind: string, time: number, session: string) {
  return {
    kind,
    tenant,
    user: { id: p.id, name: p.name },
    time: new Date(time).toISOString(),
    source: { family: p.family, id: `${p.id}-${sent++}` },
    outcome: "success",
    interactive: kind === "sign_in",
    app: { id: `app-${p.id}`, name: p.app },
    session: { id: session },
    ip: "91.64.10.20",
    provider_place: { lat: 52.52, lon: 13.405, radius_km: 20, city: p.city, country: "DE" },
    device: { id: `device-${p.id}`, name: p.device, os: "Windows", browser: "Chrome", browser_major: 142 },
    user_agent: p.agent,
    auth: { mfa: "performed", strength: "multi", methods: ["pwd", "otp"] },
  };
}

/** settled sends two weeks of a quiet life in Berlin, which ends with a session that began an hour ago. */
export async function settled(p: Person): Promise<string> {
  const session = `session-${p.id}`;
  const now = Date.now();
  const days = Array.from({ length: 14 }, (_, day) => event(p, "sign_in", now - (14 - day) * 24 * hour, `${session}-${day}`));
  await send([...days, event(p, "sign_in", now - hour, session), event(p, "session_use", now - hour / 2, session)]);
  return session;
}

/** away sends that somebody else signs in as them, on the other side of the world, half an hour after they were seen at home. */
export async function away(p: Person): Promise<void> {
  await send([
    {
      ...event(p, "sign_in", Date.now() - 1000, `away-${p.id}`),
      ip: stranger,
      provider_place: { lat: 35.677, lon: 139.65, radius_km: 20, city: "Tokyo", country: "JP" },
      device: { id: `other-${p.id}`, name: p.device, os: "Linux", browser: "Firefox", browser_major: 140 },
      user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
      auth: { mfa: "not_required", strength: "single", methods: ["pwd"] },
    },
  ]);
}

/** stolen sends that the session is used by somebody else, on the other side of the world. */
export async function stolen(p: Person, session: string): Promise<void> {
  await send([
    {
      ...event(p, "session_use", Date.now() - 1000, session),
      ip: stranger,
      provider_place: { lat: 35.677, lon: 139.65, radius_km: 20, city: p.city === "Berlin" ? "Tokyo" : p.city, country: "JP" },
      device: { id: `other-${p.id}`, name: p.device, os: "Linux", browser: "Firefox", browser_major: 140 },
      user_agent: p.agent.includes("<") ? p.agent : "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
      auth: undefined,
    },
  ]);
}
