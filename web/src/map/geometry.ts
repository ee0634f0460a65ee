import { geoCentroid, geoDistance } from "d3-geo";

export const earthRadiusKm = 6371.0088;

export interface Spot {
  lat: number;
  lon: number;
}

/** greatCircleKm is the distance between two places over the ground. */
export function greatCircleKm(a: Spot, b: Spot): number {
  return geoDistance([a.lon, a.lat], [b.lon, b.lat]) * earthRadiusKm;
}

/** angleOf is the angle, in degrees, that a distance over the ground spans at the centre of the earth; at most a quarter turn. */
export const angleOf = (km: number) => Math.min(90, (km / earthRadiusKm) * (180 / Math.PI));

/**
 * meridianFor is the longitude that a map should have in its middle to show the places together: an arc over the Pacific
 * is not torn at the map's edge. 0, the map as people know it, where that shows them as well.
 */
export function meridianFor(spots: Spot[]): number {
  if (spots.length === 0) return 0;
  const centre = geoCentroid({ type: "MultiPoint", coordinates: spots.map(s => [s.lon, s.lat]) });
  if (centre.some(Number.isNaN)) return 0;
  const width = (middle: number) => {
    const turned = spots.map(s => ((((s.lon - middle + 180) % 360) + 360) % 360) - 180);
    return Math.max(...turned) - Math.min(...turned);
  };
  return width(centre[0]) < width(0) - 1 ? centre[0] : 0;
}

/** View is how far a map is zoomed and moved, in pixels of its unzoomed self. */
export interface View {
  k: number;
  x: number;
  y: number;
}

export const whole: View = { k: 1, x: 0, y: 0 };
export const maxZoom = 24;

/** held keeps a view inside the map. */
export function held(view: View, width: number, height: number): View {
  const k = Math.max(1, Math.min(maxZoom, view.k));
  return {
    k,
    x: Math.min(0, Math.max(width - width * k, view.x)),
    y: Math.min(0, Math.max(height - height * k, view.y)),
  };
}

/** zoomed is a view after zooming by a factor around a point of the screen. */
export function zoomed(view: View, by: number, at: [number, number], width: number, height: number): View {
  const k = Math.max(1, Math.min(maxZoom, view.k * by));
  const ratio = k / view.k;
  return held({ k, x: at[0] - (at[0] - view.x) * ratio, y: at[1] - (at[1] - view.y) * ratio }, width, height);
}

/** fitted is the view that shows the points (of the unzoomed map) with some room around them. */
export function fitted(points: [number, number][], width: number, height: number, closest = 9): View {
  if (points.length === 0) return whole;
  const xs = points.map(p => p[0]);
  const ys = points.map(p => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const k = Math.max(1, Math.min(closest, 0.68 / Math.max((x1 - x0) / width, (y1 - y0) / height, 1e-6)));
  return held({ k, x: width / 2 - (k * (x0 + x1)) / 2, y: height / 2 - (k * (y0 + y1)) / 2 }, width, height);
}
