import {
  type GeoPermissibleObjects,
  geoAzimuthalEqualArea,
  geoCircle,
  geoGraticule10,
  geoInterpolate,
  geoNaturalEarth1,
  geoPath,
} from "d3-geo";
import { useEffect, useMemo, useState } from "react";
import { useWidth } from "../../charts/width";
import { distance } from "../../format/numbers";
import { plain } from "../../format/text";
import { angleOf } from "../../map/geometry";
import { between, type Scene, type Spot, type Way } from "./places";

type World = typeof import("../../map/world");

const circle = (spot: Spot) => geoCircle().center([spot.lon, spot.lat]).radius(angleOf(spot.radius)).precision(3)();

/** Far ways are shown on a map of the world, near ones from right above. */
const far = 90; // degrees

/** SceneMap shows places with their accuracy circles, and the ways between them: solid where nobody could stay uncertain. */
export function SceneMap({ scene, label }: { scene: Scene; label: string }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const [ground, setGround] = useState<World>();
  useEffect(() => {
    let shown = true;
    // The countries come in a file of their own, for the pages with a map.
    import("../../map/world").then(
      loaded => shown && setGround(loaded),
      () => {}, // the places are shown without the land
    );
    return () => {
      shown = false;
    };
  }, []);
  const height = Math.round(Math.min(340, Math.max(200, width * 0.5)));
  const { path, point } = useMemo(() => {
    const [a, b] = scene.ways[0] ? [scene.ways[0].from, scene.ways[0].to] : [scene.spots[0], scene.spots[0]];
    const middle = a && b ? geoInterpolate([a.lon, a.lat], [b.lon, b.lat])(0.5) : [0, 20];
    const wide = scene.ways.some(way => angleOf(way.km) >= far);
    const projection = wide
      ? geoNaturalEarth1().rotate([-(middle[0] ?? 0), 0])
      : geoAzimuthalEqualArea().rotate([-(middle[0] ?? 0), -(middle[1] ?? 0)]);
    const least = 260; // km around a place, so that a single one is seen in its country
    const all: GeoPermissibleObjects = {
      type: "GeometryCollection",
      geometries: scene.spots.map(spot => circle({ ...spot, radius: Math.max(spot.radius, least) })),
    };
    const margin = Math.min(70, width * 0.11);
    projection.fitExtent(
      [
        [margin, 28],
        [width - margin, height - 28],
      ],
      all,
    );
    projection.clipExtent([
      [-2, -2],
      [width + 2, height + 2],
    ]);
    return { path: geoPath(projection).digits(1), point: (spot: Spot) => projection([spot.lon, spot.lat]) ?? [-99, -99] };
  }, [scene, width, height]);
  const shape = (object: GeoPermissibleObjects) => path(object) ?? undefined;
  if (scene.spots.length === 0) return null;
  return (
    <div ref={ref} className="scene-map">
      <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height} role="img" aria-label={label}>
        <rect className="sea" width={width} height={height} />
        <path className="graticule" d={shape(geoGraticule10())} />
        {ground && <path className="land" d={shape(ground.land)} />}
        {ground && <path className="borders" d={shape(ground.borders)} />}
        {scene.spots.map(
          spot => spot.radius > 0 && <path key={key(spot)} className={`circle ${spot.role}`} d={shape(circle(spot))} />,
        )}
        {scene.ways.map(way => (
          <Line key={key(way.from) + key(way.to)} way={way} shape={shape} />
        ))}
        {scene.spots.map(spot => {
          const [x, y] = point(spot) as [number, number];
          return <circle key={key(spot)} className={`dot ${spot.role}`} cx={x} cy={y} r={spot.role === "other" ? 4 : 5.5} />;
        })}
        <Labels spots={scene.spots} point={point} width={width} height={height} />
      </svg>
    </div>
  );
}

const key = (spot: Spot) => `${spot.role}/${spot.lat}/${spot.lon}`;

function Line({ way, shape }: { way: Way; shape: (object: GeoPermissibleObjects) => string | undefined }) {
  const at = geoInterpolate([way.from.lon, way.from.lat], [way.to.lon, way.to.lat]);
  const part = (a: number, b: number): GeoPermissibleObjects => ({
    type: "LineString",
    coordinates: Array.from({ length: 33 }, (_, i) => at(a + ((b - a) * i) / 32)),
  });
  const sure = between(way);
  return (
    <g className={way.main ? "way main" : "way"}>
      <path className="unsure" d={shape(part(0, 1))} />
      {sure && <path className="sure" d={shape(part(...sure))} />}
    </g>
  );
}

/** Labels stand beside their places, on the side away from the other ones. */
function Labels({
  spots,
  point,
  width,
  height,
}: {
  spots: Spot[];
  point: (s: Spot) => number[];
  width: number;
  height: number;
}) {
  const named = spots.filter(spot => spot.role !== "other").slice(0, 4);
  const at = named.map(spot => point(spot) as [number, number]);
  const middle = at.reduce((sum, [x]) => sum + x, 0) / Math.max(1, at.length);
  return named.map((spot, i) => {
    const [x, y] = at[i] as [number, number];
    const room = x < middle - 1 ? x > 130 : width - x > 130;
    const left = room ? x < middle - 1 : x > width / 2;
    const near = at.findIndex(([ox, oy], j) => j !== i && Math.abs(ox - x) < 120 && Math.abs(oy - y) < 30);
    const lift = near >= 0 ? ((at[near]?.[1] ?? 0) >= y ? -16 : 20) : 0;
    const top = Math.min(height - 20, Math.max(14, y + 1 + lift));
    return (
      <text
        key={key(spot)}
        x={left ? x - 10 : x + 10}
        y={top}
        textAnchor={left ? "end" : "start"}
        className={`label ${spot.role}`}
      >
        {plain(spot.name || "unnamed place", 28)}
        <tspan x={left ? x - 10 : x + 10} dy="1.2em" className="note">
          {spot.note}
          {spot.radius > 0 && `, ± ${distance(spot.radius)}`}
        </tspan>
      </text>
    );
  });
}
