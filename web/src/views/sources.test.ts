import { expect, test } from "vitest";
import { healthOf } from "./parts/source-health";
import { rate } from "./sources";

const seen = { accepted: "2026-11-23T22:00:00Z", newest: "2026-11-23T22:00:00Z" };

test("a source is judged by what it sent in the last hour", () => {
  expect(healthOf({ ...seen, events_1h: 10, delay_p95_ms: 900_000 })).toBe("ok");
  expect(healthOf({ ...seen, events_1h: 10, delay_p95_ms: 900_001 })).toBe("late");
  expect(healthOf({ ...seen, events_1h: 10 })).toBe("ok");
  expect(healthOf({ ...seen, events_1h: 0 })).toBe("quiet");
  expect(healthOf({ events_1h: 0 })).toBe("refused");
});

test("rates are by the second when there are many", () => {
  expect(rate(36_000)).toBe("10/s");
  expect(rate(600)).toBe("10/min");
  expect(rate(3)).toBe("–");
});
