import { setting } from "../setting";
import { duration } from "./numbers";

/** Zone is whose clock times are shown by: the viewer's, or UTC. */
export type Zone = "local" | "utc";

const zone = setting<Zone>("zone", ["local", "utc"]);

export const setZone = zone.set;
export const useZone = zone.use;

/** TimeStyle is how much of a time is shown. */
export type TimeStyle = "full" | "short" | "clock" | "day";

const styles: Record<TimeStyle, Intl.DateTimeFormatOptions> = {
  full: { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  short: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  day: { month: "short", day: "numeric" },
};

const made = new Map<string, Intl.DateTimeFormat>();
function format(style: TimeStyle, of: Zone): Intl.DateTimeFormat {
  const key = `${style}/${of}`;
  let f = made.get(key);
  if (!f) {
    f = new Intl.DateTimeFormat(undefined, { ...styles[style], hourCycle: "h23", timeZone: of === "utc" ? "UTC" : undefined });
    made.set(key, f);
  }
  return f;
}

/** when writes a time of RFC 3339 by the viewer's clock or UTC. What is no time is returned as it is. */
export function when(text: string, style: TimeStyle, of: Zone): string {
  const t = new Date(text);
  return Number.isNaN(t.getTime()) ? text : format(style, of).format(t);
}

/** whenElse writes a time by the other clock than `of`, for where it is looked at closely. */
export const whenElse = (text: string, of: Zone) => (of === "utc" ? when(text, "full", "local") : utc(text));

/** utc writes a time of RFC 3339 as 2026-11-23 22:04:09 UTC. */
export function utc(text: string): string {
  const t = new Date(text);
  return Number.isNaN(t.getTime()) ? text : `${t.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** ago writes how long ago a time is, or how far ahead. */
export function ago(text: string, now: number = Date.now()): string {
  const ms = now - Date.parse(text);
  if (Number.isNaN(ms)) return text;
  if (Math.abs(ms) < 1500) return "now";
  const size = duration(Math.abs(ms) < 60_000 ? Math.round(Math.abs(ms) / 1000) * 1000 : Math.abs(ms));
  return ms > 0 ? `${size} ago` : `in ${size}`;
}

/** zoneName is the viewer's zone, such as Europe/Berlin. */
export const zoneName = () => Intl.DateTimeFormat().resolvedOptions().timeZone;
