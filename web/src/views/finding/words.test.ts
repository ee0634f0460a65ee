import { expect, test } from "vitest";
import {
  comparison,
  deviceName,
  hourOfWeek,
  isTime,
  journeySentence,
  likelihood,
  novelValue,
  odds,
  overAirliner,
  parameterName,
  parameterText,
  placeName,
  riskRest,
  rungName,
  speedLimitsOf,
} from "./words";

const sight = (city: string, country: string) => ({ place: { city, country, lat: 1, lon: 1, radius_km: 10 } });

test("places, countries and devices are named with as much as is known", () => {
  expect(placeName({ city: "Oslo", region: "Oslo", country: "NO" })).toBe("Oslo, Norway");
  expect(placeName({ region: "Ontario", country: "CA" })).toBe("Ontario, Canada");
  expect(placeName({})).toBe("");
  expect(placeName(undefined)).toBe("");
  expect(deviceName({ os: "Windows", browser: "Edge", browser_major: 157, type: "desktop" })).toBe(
    "Windows, Edge 157, desktop",
  );
  expect(deviceName({ os: "iOS" })).toBe("iOS");
});

test("a journey is one sentence", () => {
  const travel = {
    from: sight("Lagos", "NG"),
    to: sight("Oslo", "NO"),
    distance_km: 5800,
    radius_from_km: 50,
    radius_to_km: 20,
    effective_km: 5730,
    gap_s: 3000,
    speed_kmh: 6876,
  };
  expect(journeySentence(travel)).toBe(
    "From Lagos, Nigeria to Oslo, Norway, 5,730 km apart at the least, within 50 min: 6,876 km/h.",
  );
  expect(journeySentence({ ...travel, gap_s: 4, from: {} })).toContain("From an unknown place to Oslo, Norway");
  expect(journeySentence({ ...travel, gap_s: 4 })).toContain("within a minute");
});

test("a speed is compared with what people know", () => {
  expect(comparison(0)).toBe("");
  expect(comparison(100)).toBe("no faster than a car");
  expect(overAirliner(4600)).toBe("5 times an airliner's speed");
  expect(overAirliner(900)).toBe("no faster than an airliner");
});

test("the limits of a journey are those in force, slowest first", () => {
  const parameters = [
    { name: "high_kmh", value: 1000, unit: "km/h" },
    { name: "window", value: 24, unit: "h" },
    { name: "medium_kmh", value: 800, unit: "km/h" },
  ];
  const limits = speedLimitsOf({ parameters }, 900);
  expect(limits.map(l => [l.name, l.passed])).toEqual([
    ["medium_kmh", true],
    ["high_kmh", false],
  ]);
  expect(speedLimitsOf({}, 900)).toEqual([]);
});

test("logarithms are said as factors", () => {
  expect(likelihood(0)).toBe("says nothing either way");
  expect(likelihood(Math.log(20))).toBe("20 times likelier of somebody else than of this user");
  expect(likelihood(-Math.log(3.3))).toBe("3.3 times likelier of this user than of somebody else");
  expect(likelihood(50)).toContain("over a million");
  expect(odds(10)).toBe("10 to 1");
  expect(odds(-20)).toBe("1 to 100");
  expect(odds(0)).toBe("even");
});

test("parameters are written as the configuration does", () => {
  expect(parameterText({ name: "same_device", value: 1 / 6, unit: "h" })).toBe("10 min");
  expect(parameterText({ name: "window", value: 24, unit: "h" })).toBe("1 d");
  expect(parameterText({ name: "threshold", value: 2.25 })).toBe("2.25");
  expect(parameterText({ name: "min_km", value: 500, unit: "km" })).toBe("500 km");
  expect(parameterName("min_fixed_line_km")).toBe("Min fixed line");
  expect(parameterName("high_kmh")).toBe("High");
});

test("what is not known is shown by its name on the wire", () => {
  expect(rungName("geo_conflict")).toBe("Places contradict each other");
  expect(rungName("a_new_rung")).toBe("A new rung");
  expect(novelValue({ kind: "asn", value: "64496", known: 1 })).toBe("AS64496");
  expect(novelValue({ kind: "country", value: "NO", known: 1 })).toBe("Norway");
  expect(novelValue({ kind: "other", value: "x", known: 1 })).toBe("x");
});

test("facts that are times or hours are known as such", () => {
  expect(isTime("2026-11-23T17:29:37.156Z")).toBe(true);
  expect(isTime("2026-11-23")).toBe(false);
  expect(hourOfWeek(0)).toBe("Monday, 00:00 UTC");
  expect(hourOfWeek(167)).toBe("Sunday, 23:00 UTC");
  expect(hourOfWeek(999)).toBe("999");
});

test("the rest of a risk is what its parts do not account for", () => {
  const part = (decibans: number) => ({ detection: "LOC-01", time: "2026-11-23T17:00:00Z", decibans });
  expect(riskRest({ before: 0, after: 40, parts: [part(30), part(15)] })).toBe(-5);
  expect(riskRest({ before: 0, after: 45, parts: null })).toBe(45);
});
