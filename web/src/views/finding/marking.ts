import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, Problem, type Schemas, unwrap } from "../../api/client";

export type Triage = Schemas["Triage"];
export type Verdict = Triage["verdict"];

/** What may be said of a finding, in the order of the buttons, with the key that says it. */
export const verdicts: { verdict: Verdict; label: string; key: string }[] = [
  { verdict: "acknowledged", label: "Acknowledge", key: "a" },
  { verdict: "true_positive", label: "True positive", key: "t" },
  { verdict: "false_positive", label: "False positive", key: "f" },
  { verdict: "open", label: "Reopen", key: "o" },
];

/** untouched is the triage of a finding that nobody has marked. */
export const untouched: Triage = { verdict: "open", comment: "", assignee: "", by: "" };

/** etagOf names a triage, as the API does in its ETag: a mark that is to replace another says which. */
export const etagOf = (triage: Triage) => `"${triage.mark || "open"}"`;

/** wait is how many milliseconds a mark that was held back by others is tried again after. */
const wait = 400;
const tries = 5;

/** mark says what a finding is. seen is the triage that it replaces; undefined replaces whatever there is. */
export async function mark(
  id: string,
  next: Pick<Triage, "verdict" | "comment" | "assignee">,
  seen: Triage | undefined,
): Promise<Triage> {
  return unwrap(
    api.PUT("/v1/findings/{id}/triage", {
      params: { path: { id }, header: seen ? { "If-Match": etagOf(seen) } : {} },
      body: { verdict: next.verdict, comment: next.comment, assignee: next.assignee },
    }),
  );
}

/** waits tells that a mark was held back by others, so that the same one may be taken soon. */
const waits = (error: unknown): error is Problem =>
  error instanceof Problem && (error.status === 429 || (error.status === 503 && error.kind === "busy"));

/** patient tries a mark again that was held back, as often as `tries` says, and always as the one that replaces seen. */
async function patient(put: typeof mark, ...of: Parameters<typeof mark>): Promise<Triage> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await put(...of);
    } catch (error) {
      if (!waits(error) || attempt >= tries) throw error;
      await new Promise(resolve => setTimeout(resolve, Math.max(wait, (error.retryAfter ?? 0) * 1000)));
    }
  }
}

/**
 * markPossible says what a finding is, also while the history is away: then nobody knows what is replaced, and blind says so.
 * For no other reason it replaces anything but seen.
 */
export async function markPossible(
  id: string,
  next: Pick<Triage, "verdict" | "comment" | "assignee">,
  seen: Triage | undefined,
  put: typeof mark = mark,
): Promise<{ made: Triage; blind: boolean }> {
  try {
    return { made: await patient(put, id, next, seen), blind: false };
  } catch (error) {
    if (!(error instanceof Problem && error.kind === "history-away" && seen)) throw error;
    return { made: await patient(put, id, next, undefined), blind: true };
  }
}

/** What came of several marks. */
export interface Marked {
  done: Map<string, Triage>;
  /** Findings that somebody else has marked since they were shown: theirs stays. */
  conflicts: string[];
  failed: Map<string, Error>;
}

/**
 * markAll says the same of several findings, one after the other, and leaves alone what somebody else has marked meanwhile.
 * Comments and assignees stay. It stops at the first error that concerns all of them.
 */
export async function markAll(
  findings: { id: string; seen: Triage }[],
  verdict: Verdict,
  told: (done: number) => void = () => {},
  put: typeof mark = mark,
): Promise<Marked> {
  const result: Marked = { done: new Map(), conflicts: [], failed: new Map() };
  for (const { id, seen } of findings) {
    try {
      result.done.set(id, await patient(put, id, { ...seen, verdict }, seen));
    } catch (error) {
      if (error instanceof Problem && error.status === 412) {
        result.conflicts.push(id);
      } else {
        result.failed.set(id, error as Error);
        if (error instanceof Problem && (error.status === 0 || error.status === 401 || error.status === 403)) return result;
      }
    }
    told(result.done.size);
  }
  return result;
}

/** Where a mark that was made here stands. */
export type State =
  | { is: "idle" }
  | { is: "saving"; next: Triage }
  | { is: "saved"; next: Triage; at: number; blind: boolean }
  | { is: "conflict"; wanted: Triage }
  | { is: "failed"; wanted: Triage; error: Error };

/** newer is the triage that holds: the one that was made here until the API brings it or a later one. */
export function newer(kept: Triage | undefined, state: State): Triage {
  if (state.is === "saving") return state.next;
  if (state.is === "saved" && (!kept?.time || (state.next.time ?? "") > kept.time)) return state.next;
  return kept ?? untouched;
}

/**
 * useMarking marks one finding: at once on the page, taken back when it did not work. kept is what the API says of the
 * triage, undefined while it cannot: then the last mark holds, whoever made it.
 */
export function useMarking(id: string, kept: Triage | undefined, me: string) {
  const client = useQueryClient();
  const [state, setState] = useState<State>({ is: "idle" });
  const shown = newer(kept, state);
  const again = () =>
    client
      .invalidateQueries({ predicate: query => String(query.queryKey[0]).startsWith("/v1/findings") })
      .catch(() => undefined);

  async function save(wanted: Pick<Triage, "verdict" | "comment" | "assignee">, over = false): Promise<boolean> {
    const next: Triage = { ...wanted, by: me, time: new Date().toISOString() };
    const seen = kept && !over ? shown : undefined;
    setState({ is: "saving", next });
    try {
      const { made, blind } = await markPossible(id, next, seen);
      setState({ is: "saved", next: made, at: Date.now(), blind: blind || (!seen && !over) });
      void again();
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status === 412) {
        await again();
        setState({ is: "conflict", wanted: next });
      } else {
        setState({ is: "failed", wanted: next, error: error as Error });
      }
      return false;
    }
  }
  return { shown, state, save, dismiss: () => setState({ is: "idle" }) };
}
