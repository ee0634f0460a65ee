import { type ScaleTime, scaleTime, scaleUtc } from "d3-scale";
import type { Zone } from "../format/time";

/** timeScale maps times to pixels, with ticks at whole hours and days of the zone. */
export function timeScale(zone: Zone, from: Date, to: Date, left: number, right: number): ScaleTime<number, number> {
  return (zone === "utc" ? scaleUtc() : scaleTime()).domain([from, to]).range([left, right]);
}

/** tickLabel is what stands at a tick: the day at midnight, else the time. */
export function tickLabel(at: Date, zone: Zone, spanMs: number): string {
  const timeZone = zone === "utc" ? "UTC" : undefined;
  const midnight = zone === "utc" ? at.getUTCHours() + at.getUTCMinutes() === 0 : at.getHours() + at.getMinutes() === 0;
  const options: Intl.DateTimeFormatOptions =
    spanMs > 3 * 86400_000 || midnight
      ? { month: "short", day: "numeric", timeZone }
      : { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone, ...(spanMs < 300_000 && { second: "2-digit" }) };
  return new Intl.DateTimeFormat(undefined, options).format(at);
}

/** niceMax is the top of an axis that starts at 0: 1, 2 or 5 times a power of ten, never below 1. */
export function niceMax(most: number): number {
  if (most <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  for (const step of [1, 2, 2.5, 5, 10]) {
    if (step * power >= most && Number.isInteger(step * power)) return step * power;
  }
  return 10 * power;
}
