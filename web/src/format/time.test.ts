import { expect, test } from "vitest";
import { ago, utc, when, whenElse } from "./time";

test("UTC is written in full", () => {
  expect(utc("2026-11-23T22:04:09.123Z")).toBe("2026-11-23 22:04:09 UTC");
  expect(utc("2026-11-23T23:04:09+01:00")).toBe("2026-11-23 22:04:09 UTC");
  expect(when("2026-11-23T22:04:09Z", "clock", "utc")).toBe("22:04:09");
  expect(whenElse("2026-11-23T22:04:09Z", "local")).toBe("2026-11-23 22:04:09 UTC");
  expect(whenElse("2026-11-23T22:04:09Z", "utc")).not.toContain("UTC");
});

test("what is no time is shown as it is", () => {
  expect(when("soon", "full", "utc")).toBe("soon");
  expect(utc("")).toBe("");
  expect(ago("soon")).toBe("soon");
});

test("ago", () => {
  const now = Date.parse("2026-11-23T22:00:00Z");
  expect(ago("2026-11-23T21:59:59.5Z", now)).toBe("now");
  expect(ago("2026-11-23T21:59:18.4Z", now)).toBe("42 s ago");
  expect(ago("2026-11-23T19:40:00Z", now)).toBe("2 h 20 min ago");
  expect(ago("2026-11-23T22:10:00Z", now)).toBe("in 10 min");
});
