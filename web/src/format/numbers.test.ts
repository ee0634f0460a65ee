import { expect, test } from "vitest";
import { bytes, distance, duration } from "./numbers";

test.each([
  [0, "0 ms"],
  [340.4, "340 ms"],
  [2400, "2.4 s"],
  [59_000, "59 s"],
  [59_990, "1 min"],
  [200_000, "3 min 20 s"],
  [3_600_000, "1 h"],
  [5_400_000, "1 h 30 min"],
  [187_200_000, "2 d 4 h"],
  [-2400, "−2.4 s"],
  [Number.NaN, "–"],
])("%d ms is %s", (ms, shown) => expect(duration(ms)).toBe(shown));

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [123_456, "123 kB"],
  [999_999, "1.0 MB"],
  [5e12, "5.0 TB"],
])("%d bytes are %s", (n, shown) => expect(bytes(n)).toBe(shown));

test("short distances have a decimal", () => {
  expect(distance(3.25)).toMatch(/^3\.[23] km$/);
  expect(distance(120.6)).toBe("121 km");
});
