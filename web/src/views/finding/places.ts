import { greatCircleKm } from "../../map/geometry";
import { type Finding, located, placeName, type Sight, type Travel } from "./words";

/** A place on the map. */
export interface Spot {
  lat: number;
  lon: number;
  radius: number;
  name: string;
  /** Said below the name. */
  note: string;
  role: "from" | "to" | "other" | "provider";
}

/** A way on the map, with how much of each end is uncertain. */
export interface Way {
  from: Spot;
  to: Spot;
  km: number;
  main: boolean;
}

function spot(sight: Sight, role: Spot["role"], note: string, radius?: number): Spot | undefined {
  const place = sight.place;
  if (!located(place)) return undefined;
  return { lat: place.lat, lon: place.lon, radius: radius ?? place.radius_km ?? 0, name: placeName(place), note, role };
}

function wayOf(travel: Travel, main: boolean, notes: [string, string]): Way | undefined {
  const from = spot(travel.from, main ? "from" : "other", notes[0], travel.radius_from_km);
  const to = spot(travel.to, "to", notes[1], travel.radius_to_km);
  return from && to ? { from, to, km: travel.distance_km, main } : undefined;
}

export interface Scene {
  spots: Spot[];
  ways: Way[];
}

/**
 * sceneOf is what a finding's map shows: its journeys where it has some, else where its session began and is, else where the
 * event was. With places that contradict each other the provider's is shown too.
 */
export function sceneOf(finding: Pick<Finding, "evidence">): Scene {
  const e = finding.evidence;
  const ways: Way[] = [];
  const spots: Spot[] = [];
  const add = (...some: (Spot | undefined)[]) => {
    for (const one of some) {
      if (one && !spots.some(s => s.lat === one.lat && s.lon === one.lon && s.role === one.role)) spots.push(one);
    }
  };
  if (e.travel) {
    const way = wayOf(e.travel, true, ["before", "now"]);
    if (way) ways.push(way);
  }
  if (e.return) {
    const way = wayOf(e.return, false, ["there", "and back"]);
    if (way) ways.push(way);
  }
  for (const other of (e.other_travels ?? []).slice(0, 12)) {
    const way = wayOf(other, false, ["also seen", "now"]);
    if (way) ways.push(way);
  }
  if (ways.length === 0) {
    const earlier = e.session?.started ?? e.chain?.[0];
    const from = earlier && spot(earlier, "from", e.session ? "session began" : "before");
    const to = spot(e.sight, "to", "now");
    if (from && to) {
      const km = greatCircleKm(from, to);
      if (km > 1) ways.push({ from, to, km, main: true });
      else add(to);
    } else {
      add(from, to);
    }
  }
  for (const way of ways) add(way.from, way.to);
  if (e.geo_conflict && located(e.sight.provider_place)) {
    const place = e.sight.provider_place;
    add({
      lat: place.lat,
      lon: place.lon,
      radius: place.radius_km ?? 0,
      name: placeName(place),
      note: "says the provider",
      role: "provider",
    });
  }
  return { spots, ways };
}

/** between is what is left of a way between the circles at its ends, as shares of its length; undefined when they touch. */
export function between(way: Way): [number, number] | undefined {
  if (way.km <= 0) return undefined;
  const start = Math.min(1, way.from.radius / way.km);
  const end = Math.max(0, 1 - way.to.radius / way.km);
  return start < end ? [start, end] : undefined;
}
