import { expect, test } from "vitest";
import { bars, brushed, clusters, heat, lifetime, place, shift, stack, tickStyle, ticks, within, zoom } from "./lane-layout";

const t0 = Date.parse("2026-11-23T00:00:00Z");
const hour = 3600_000;
const point = (hours: number, events = 1, failures = 0) => ({
  time: new Date(t0 + hours * hour).toISOString(),
  events,
  failures,
});
const day = { from: t0, to: t0 + 24 * hour };

test("neighbouring steps are one bar, those with failures apart", () => {
  const made = bars([point(0), point(1, 2), point(2, 3, 1), point(5)], hour);
  expect(made.map(b => [(b.from - t0) / hour, (b.to - t0) / hour, b.events, b.failures])).toEqual([
    [0, 2, 3, 0],
    [2, 3, 3, 1],
    [5, 6, 1, 0],
  ]);
  expect(bars([], hour)).toEqual([]);
});

test("a bar is cut at the edges and never too thin to see", () => {
  expect(place({ from: t0 - hour, to: t0 + 12 * hour }, day)).toEqual({ x: 0, width: 0.5 });
  expect(place({ from: t0 + 24 * hour, to: t0 + 25 * hour }, day)).toBeUndefined();
  expect(place({ from: t0 + 24 * hour - 1, to: t0 + 24 * hour }, day, 0.01)).toEqual({ x: 0.99, width: 0.01 });
});

test("ticks are round by the viewer's clock", () => {
  expect(ticks(day, 8).map(t => (t - t0) / hour)).toEqual([0, 3, 6, 9, 12, 15, 18, 21]);
  const ahead = 5.5 * hour;
  expect(ticks(day, 8, ahead).every(t => (t + ahead) % (3 * hour) === 0)).toBe(true);
  expect(tickStyle(ticks(day, 8))).toBe("clock");
  expect(tickStyle(ticks({ from: t0, to: t0 + 30 * 24 * hour }, 10))).toBe("day");
  expect(ticks({ from: t0, to: t0 + 9999 * 24 * hour }, 1).length).toBeLessThanOrEqual(64);
});

test("zooming and moving stay within bounds, and where they are however long ago that is", () => {
  const bounds = { to: t0 + 24 * hour, longest: 72 * hour };
  const widest = { from: t0 - 48 * hour, to: t0 + 24 * hour };
  expect(zoom(day, 0.5, 0.5, bounds)).toEqual({ from: t0 + 6 * hour, to: t0 + 18 * hour });
  expect(zoom(day, 2, 0.5, bounds)).toEqual({ from: t0 - 24 * hour, to: t0 + 24 * hour });
  expect(zoom(day, 1000, 0.5, bounds)).toEqual(widest);
  expect(zoom({ from: t0, to: t0 + 6 * 60_000 }, 0.5, 0.5, bounds).to).toBe(t0 + 5.5 * 60_000);
  expect(shift(day, 1, bounds)).toEqual(day);
  expect(shift(day, -0.5, bounds)).toEqual({ from: t0 - 12 * hour, to: t0 + 12 * hour });
  expect(within({ from: t0, to: t0 * 2 }, bounds)).toEqual(widest);
  const longAgo = { from: t0 - 150 * 24 * hour, to: t0 - 149 * 24 * hour };
  expect(within(longAgo, bounds)).toEqual(longAgo);
});

test("a brush in either direction is a part of the time; a click is none", () => {
  expect(brushed(day, 0.75, 0.5)).toEqual({ from: t0 + 12 * hour, to: t0 + 18 * hour });
  expect(brushed(day, -1, 2)).toEqual(day);
  expect(brushed(day, 0.5, 0.501)).toBeUndefined();
});

test("a requirement lasts until it was closed, or until now", () => {
  const r = { not_before: point(1).time, expires: point(9).time };
  expect(lifetime({ ...r, status: "open" }, t0 + 4 * hour)).toEqual({ from: t0 + hour, to: t0 + 4 * hour });
  expect(lifetime({ ...r, status: "satisfied", closed: point(2).time }, t0 + 4 * hour).to).toBe(t0 + 2 * hour);
  expect(lifetime({ ...r, status: "expired" }, t0 + 40 * hour).to).toBe(t0 + 9 * hour);
  expect(lifetime({ ...r, status: "satisfied", closed: point(0).time }, t0).to).toBe(t0 + hour);
});

test("what overlaps stands in rows, as few as will do", () => {
  const spans: [number, number][] = [
    [0, 5],
    [1, 2],
    [2, 3],
    [6, 7],
  ];
  expect(stack(spans, ([from, to]) => ({ from, to }), 4).map(s => s.row)).toEqual([0, 1, 1, 0]);
  expect(Math.max(...stack([...spans, ...spans, ...spans], ([from, to]) => ({ from, to }), 2).map(s => s.row))).toBe(1);
});

test("marks too close together are one", () => {
  expect(clusters([30, 5, 10, 100], x => x, 20).map(c => c.things)).toEqual([[5, 10], [30], [100]]);
  expect(clusters([], (x: number) => x, 20)).toEqual([]);
});

test("more events are stronger", () => {
  expect(heat(1, 1)).toBe(1);
  expect(heat(100, 100)).toBe(1);
  expect(heat(1, 100)).toBeLessThan(heat(10, 100));
  expect(heat(1, 100)).toBeGreaterThan(0.35);
});
