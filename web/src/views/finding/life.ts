import type { Schemas } from "../../api/client";
import type { Requirement } from "./words";

/** What an app told of a requirement. */
export interface Told {
  app: string;
  status: string;
  time: string;
}

/** A step in the life of a requirement. ms is how long after the decision it came, undefined when that is not known. */
export interface Step {
  step: "opened" | "delivered" | "challenged" | "refused" | "revoked" | "satisfied" | "expired" | "expires";
  time: string;
  ms: number | undefined;
  /** The apps that said so, the first first. */
  apps: { app: string; time: string; ms: number | undefined }[];
  /** A step that is still to come. */
  ahead: boolean;
}

const order = ["delivered", "challenged", "refused", "revoked", "satisfied"] as const;

type Receipt = Schemas["Receipt"] & { decided?: string; ms?: number };

/** decidedAt is when the decision entered the log, as far as receipts tell. */
export const decidedAt = (receipts: Receipt[]) => receipts.find(r => r.decided)?.decided;

/**
 * lifeOf is what became of a requirement, in order: opened, what the apps did, and its end. Receipts tell when by the clocks
 * of the apps. Times are counted from the decision, or, where the history does not know when that was, from when the event
 * was accepted.
 */
export function lifeOf(requirement: Requirement, receipts: Receipt[], accepted: string | undefined, now: number): Step[] {
  const start = decidedAt(receipts) ?? accepted;
  const since = (time: string) => (start ? Math.max(0, Date.parse(time) - Date.parse(start)) : undefined);
  const steps: Step[] = [
    { step: "opened", time: start ?? requirement.not_before, ms: start ? 0 : undefined, apps: [], ahead: false },
  ];
  for (const step of order) {
    const told = receipts
      .filter(r => r.status === step)
      .sort((a, b) => Date.parse(a.time) - Date.parse(b.time))
      .map(r => ({ app: r.app, time: r.time, ms: r.ms ?? since(r.time) }));
    const first = new Map<string, (typeof told)[number]>();
    for (const one of told) if (!first.has(one.app)) first.set(one.app, one);
    const apps = [...first.values()];
    const earliest = apps[0];
    if (earliest) steps.push({ step, time: earliest.time, ms: earliest.ms, apps, ahead: false });
  }
  if (requirement.status === "satisfied" && !steps.some(s => s.step === "satisfied") && requirement.closed) {
    steps.push({ step: "satisfied", time: requirement.closed, ms: undefined, apps: [], ahead: false });
  }
  if (requirement.status === "expired") {
    steps.push({ step: "expired", time: requirement.closed ?? requirement.expires, ms: undefined, apps: [], ahead: false });
  }
  if (requirement.status === "open") {
    steps.push({
      step: "expires",
      time: requirement.expires,
      ms: undefined,
      apps: [],
      ahead: Date.parse(requirement.expires) > now,
    });
  }
  return steps;
}

/** The matrix of apps by status, with the time to each: rows in the order in which apps spoke first. */
export function byApp(
  steps: Step[],
): { app: string; at: Partial<Record<Step["step"], { time: string; ms: number | undefined }>> }[] {
  const rows = new Map<string, Partial<Record<Step["step"], { time: string; ms: number | undefined }>>>();
  for (const step of steps) {
    for (const { app, time, ms } of step.apps) {
      const row = rows.get(app) ?? {};
      row[step.step] = { time, ms };
      rows.set(app, row);
    }
  }
  return [...rows].map(([app, at]) => ({ app, at }));
}
