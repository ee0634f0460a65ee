import type { Schemas } from "../../api/client";

// How a user's time is laid out: pure, in milliseconds and shares of the width.

export interface Extent {
  from: number;
  to: number;
}

/** Bounds are how late an extent may end, and how wide it may be. */
export interface Bounds {
  to: number;
  longest: number;
}

/** A bar of a lane: neighbouring steps together, with the heaviest one's share of the lane's heaviest. */
export interface Bar {
  from: number;
  to: number;
  events: number;
  failures: number;
}

/** bars joins neighbouring steps of a lane into bars. Steps with failures stay apart from those without. */
export function bars(points: Schemas["LanePoint"][], step: number): Bar[] {
  const made: Bar[] = [];
  for (const point of points) {
    const from = Date.parse(point.time);
    const last = made[made.length - 1];
    if (last && last.to === from && last.failures > 0 === point.failures > 0) {
      last.to = from + step;
      last.events += point.events;
      last.failures += point.failures;
    } else {
      made.push({ from, to: from + step, events: point.events, failures: point.failures });
    }
  }
  return made;
}

/** share is where a time is, from 0 to 1; outside of the extent it is below or above. */
export const share = (time: number, { from, to }: Extent) => (time - from) / (to - from);

/** place is where a bar is within an extent, at least as wide as `least`; undefined outside of it. */
export function place(
  bar: { from: number; to: number },
  extent: Extent,
  least = 0.004,
): { x: number; width: number } | undefined {
  if (bar.to <= extent.from || bar.from >= extent.to) return undefined;
  const x = Math.max(0, share(bar.from, extent));
  const end = Math.min(1, share(bar.to, extent));
  const width = Math.max(least, end - x);
  return { x: Math.min(x, 1 - width), width };
}

/** The steps of an axis, in milliseconds, up to 30 days. */
const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const sizes = [
  minute,
  5 * minute,
  15 * minute,
  30 * minute,
  hour,
  3 * hour,
  6 * hour,
  12 * hour,
  day,
  2 * day,
  7 * day,
  14 * day,
  30 * day,
];

/** ticks are round times of an extent, at most `most`, by a clock that is `ahead` milliseconds ahead of UTC. */
export function ticks({ from, to }: Extent, most: number, ahead = 0): number[] {
  const size = sizes.find(s => (to - from) / s <= most) ?? (sizes[sizes.length - 1] as number);
  const found: number[] = [];
  for (let t = Math.ceil((from + ahead) / size) * size - ahead; t < to && found.length < 64; t += size) found.push(t);
  return found;
}

/** tickStyle is how much of a tick's time is written: days, or hours and minutes. */
export const tickStyle = (found: number[]): "day" | "clock" => ((found[1] ?? 0) - (found[0] ?? 0) >= day ? "day" : "clock");

const narrowest = 5 * minute;

/** zoom makes an extent narrower or wider around a share of it, within bounds. A factor of 0.5 halves it. */
export function zoom(extent: Extent, factor: number, around: number, bounds: Bounds): Extent {
  const width = Math.min(Math.max((extent.to - extent.from) * factor, narrowest), bounds.longest);
  const middle = extent.from + (extent.to - extent.from) * around;
  return within({ from: middle - width * around, to: middle + width * (1 - around) }, bounds);
}

/** shift moves an extent by a share of its width, within bounds. */
export function shift(extent: Extent, by: number, bounds: Bounds): Extent {
  const width = extent.to - extent.from;
  return within({ from: extent.from + width * by, to: extent.to + width * by }, bounds);
}

/** within moves an extent before the end of the bounds, and narrows it where it must. However long ago it is, it stays there. */
export function within(extent: Extent, { to: latest, longest }: Bounds): Extent {
  const width = Math.min(extent.to - extent.from, longest);
  const from = Math.min(extent.from, latest - width);
  return { from: Math.round(from), to: Math.round(from + width) };
}

/** brushed is the extent between two shares, in either order, when it is wide enough to be meant. */
export function brushed(extent: Extent, a: number, b: number): Extent | undefined {
  const width = extent.to - extent.from;
  const clamp = (v: number) => Math.min(1, Math.max(0, v));
  const [low, high] = a < b ? [clamp(a), clamp(b)] : [clamp(b), clamp(a)];
  if ((high - low) * width < narrowest || high - low < 0.01) return undefined;
  return { from: Math.round(extent.from + low * width), to: Math.round(extent.from + high * width) };
}

/** A requirement's life as a bar. */
export function lifetime(r: Pick<Schemas["Requirement"], "not_before" | "closed" | "expires" | "status">, now: number): Extent {
  const from = Date.parse(r.not_before);
  const end = r.closed ?? r.expires;
  const to = r.status === "open" ? Math.min(Date.parse(r.expires), Math.max(now, from)) : Date.parse(end);
  return { from, to: Math.max(to, from) };
}

/** stack puts things that overlap into rows, each thing into the first row that is free at its start. */
export function stack<T>(things: T[], of: (thing: T) => Extent, most: number): { thing: T; row: number }[] {
  const free: number[] = [];
  return [...things]
    .sort((a, b) => of(a).from - of(b).from)
    .map(thing => {
      const { from, to } = of(thing);
      let row = free.findIndex(end => end <= from);
      if (row < 0) row = free.length < most ? free.length : most - 1;
      free[row] = Math.max(to, free[row] ?? 0);
      return { thing, row };
    });
}

/** heat is how strong a bar is drawn: more for more events, by the logarithm, from 0.35 to 1. */
export function heat(events: number, heaviest: number): number {
  if (heaviest <= 1) return 1;
  return 0.35 + 0.65 * (Math.log1p(events) / Math.log1p(heaviest));
}

/** Things at nearly one place of the line, to be shown as one mark. */
export interface Cluster<T> {
  x: number;
  things: T[];
}

/** clusters gathers things that would stand closer than `gap`, in the measure of `at`. */
export function clusters<T>(things: T[], at: (thing: T) => number, gap: number): Cluster<T>[] {
  const made: Cluster<T>[] = [];
  for (const thing of [...things].sort((a, b) => at(a) - at(b))) {
    const x = at(thing);
    const last = made[made.length - 1];
    if (last && x - last.x < gap) last.things.push(thing);
    else made.push({ x, things: [thing] });
  }
  return made;
}
