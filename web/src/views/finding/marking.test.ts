import { expect, test, vi } from "vitest";
import { Problem } from "../../api/client";
import { etagOf, markAll, newer, type Triage, untouched } from "./marking";

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
