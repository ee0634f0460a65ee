import { expect, test } from "vitest";
import { niceMax, tickLabel } from "./scale";

test.each([
  [0, 1],
  [1, 1],
  [2, 2],
  [3, 5],
  [7, 10],
  [21, 25],
  [26, 50],
  [100, 100],
  [101, 200],
  [999_999, 1_000_000],
])("an axis for %d goes to %d", (most, top) => expect(niceMax(most)).toBe(top));

test("ticks name the day at midnight and the time else", () => {
  const hour = 3600_000;
  expect(tickLabel(new Date("2026-11-23T00:00:00Z"), "utc", 24 * hour)).toMatch(/23/);
  expect(tickLabel(new Date("2026-11-23T06:00:00Z"), "utc", 24 * hour)).toBe("06:00");
  expect(tickLabel(new Date("2026-11-23T06:00:00Z"), "utc", 30 * 24 * hour)).toMatch(/Nov/);
});
