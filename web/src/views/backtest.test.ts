import { describe, expect, it } from "vitest";
import { under, verdict } from "./backtest";

describe("verdict", () => {
  it("says when nothing changes", () => expect(verdict(3, 3, true)).toBe("Every decision would have been the same."));
  it("says when only who is asked changes", () => expect(verdict(3, 3, false)).toContain("as often, 3 times, but not"));
  it("says by how much it is more", () =>
    expect(verdict(10, 15, false)).toBe("People would be interrupted 15 times in place of 10 (+50%)."));
  it("says by how much it is less", () =>
    expect(verdict(10, 5, false)).toBe("People would be interrupted 5 times in place of 10 (−50%)."));
  it("has no share of nothing", () => expect(verdict(0, 5, false)).toBe("People would be interrupted 5 times in place of 0."));
});

it("a backtest is asked for again only while it is under way", () => {
  expect((["queued", "running", "done", "failed", "cancelled", undefined] as const).filter(under)).toEqual([
    "queued",
    "running",
  ]);
});
