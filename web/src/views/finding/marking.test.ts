import { expect, test, vi } from "vitest";
import { Problem } from "../../api/client";
import { etagOf, markAll, markPossible, newer, type Triage, untouched } from "./marking";

const made = (verdict: Triage["verdict"], time: string): Triage => ({ ...untouched, mark: "m", verdict, by: "me", time });

test("a triage is named as the API names it", () => {
  expect(etagOf(untouched)).toBe('"open"');
  expect(etagOf(made("open", "2026-11-23T10:00:00Z"))).toBe('"m"');
});

test("what was marked here shows until the API has it or something newer", () => {
  const mine = made("true_positive", "2026-11-23T10:00:05Z");
  const saved = { is: "saved" as const, next: mine, at: 1, blind: false };
  expect(newer(undefined, { is: "idle" })).toBe(untouched);
  expect(newer(untouched, { is: "saving", next: mine })).toBe(mine);
  expect(newer(untouched, saved)).toBe(mine);
  const theirs = made("false_positive", "2026-11-23T10:00:06Z");
  expect(newer(theirs, saved)).toBe(theirs);
  expect(newer(untouched, { is: "failed", wanted: mine, error: new Error("no") })).toBe(untouched);
});

test("several marks leave alone what somebody else has marked", async () => {
  const put = vi.fn(async (id: string, next: Pick<Triage, "verdict">) => {
    if (id === "b") throw new Problem(412, "somebody was first");
    if (id === "c") throw new Problem(404, "gone");
    return made(next.verdict, "2026-11-23T10:00:00Z");
  });
  const seen = { ...untouched, comment: "kept", assignee: "ada" };
  const targets = ["a", "b", "c", "d"].map(id => ({ id, seen }));
  const result = await markAll(targets, "acknowledged", () => {}, put);
  expect([...result.done.keys()]).toEqual(["a", "d"]);
  expect(result.conflicts).toEqual(["b"]);
  expect([...result.failed.keys()]).toEqual(["c"]);
  expect(put.mock.calls[0]?.[1]).toMatchObject({ verdict: "acknowledged", comment: "kept", assignee: "ada" });
});

test("what concerns all of them ends it at once", async () => {
  const put = vi.fn(async () => {
    throw new Problem(403, "not yours");
  });
  const targets = ["a", "b"].map(id => ({ id, seen: untouched }));
  const result = await markAll(targets, "acknowledged", () => {}, put);
  expect(put).toHaveBeenCalledTimes(1);
  expect(result.failed.size).toBe(1);
});

test("only while the history is away a mark may replace what it has not seen", async () => {
  vi.useFakeTimers();
  try {
    const next = { verdict: "acknowledged" as const, comment: "", assignee: "" };
    const run = async (...answers: (Problem | undefined)[]) => {
      const asked: (string | undefined)[] = [];
      const put = vi.fn(async (_id: string, _next: unknown, seen: Triage | undefined) => {
        asked.push(seen && etagOf(seen));
        const problem = answers.shift();
        if (problem) throw problem;
        return made("acknowledged", "2026-11-23T10:00:00Z");
      });
      const result = markPossible("a", next, untouched, put).catch((error: Problem) => error.detail);
      await vi.runAllTimersAsync();
      return { asked, result: await result };
    };
    const busy = () => new Problem(503, "another is written", { kind: "busy", retryAfter: 5 });
    const away = () => new Problem(503, "away", { kind: "history-away" });
    expect(await run(busy(), undefined)).toMatchObject({ asked: ['"open"', '"open"'], result: { blind: false } });
    expect(await run(busy(), new Problem(412, "somebody was first"))).toEqual({
      asked: ['"open"', '"open"'],
      result: "somebody was first",
    });
    expect(await run(away(), busy(), undefined)).toMatchObject({
      asked: ['"open"', undefined, undefined],
      result: { blind: true },
    });
    for (const other of [new Problem(503, "log", { kind: "log-away" }), new Problem(503, "a proxy's")]) {
      expect(await run(other)).toEqual({ asked: ['"open"'], result: other.detail });
    }
    const often = await run(...Array.from({ length: 9 }, busy));
    expect(often).toEqual({ asked: Array.from({ length: 5 }, () => '"open"'), result: "another is written" });
  } finally {
    vi.useRealTimers();
  }
});
