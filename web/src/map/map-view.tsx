import { geoCircle, geoNaturalEarth1, geoPath } from "d3-geo";
import { type KeyboardEvent, type PointerEvent, useEffect, useMemo, useRef, useState } from "react";
import "./map.css";
import { useWidth } from "../charts/width";
import { angleOf, fitted, held, meridianFor, type Spot, type View, whole, zoomed } from "./geometry";
import { borders, land } from "./world";

export interface MapPlaceMark extends Spot {
  key: string;
  /** How far off the place may be; drawn to scale. */
  radiusKm: number;
  /** The size of the dot, in pixels. */
  size: number;
  /** A severity, or "events". */
  tone: string;
  label: string;
}

export interface MapArcMark {
  key: string;
  from: Spot;
  to: Spot;
  tone: string;
  label: string;
}

/**
 * MapView is the world in Natural Earth's projection, with places, how far off each may be, and arcs along great circles.
 * Drag or the arrow keys move it, + and − zoom, 0 shows all. It is a picture of what the page must also list: the marks
 * are not stops of the Tab key. `chosen` is the key of the mark to emphasise, `onChoose` is told what is pointed at.
 */
export function MapView({
  label,
  places,
  arcs,
  fit = false,
  height: wanted,
  chosen,
  onChoose,
  onOpen,
}: {
  label: string;
  places: MapPlaceMark[];
  arcs: MapArcMark[];
  /** Starts at the places and arcs, not at the whole world. */
  fit?: boolean;
  height?: number;
  chosen?: string;
  onChoose?: (key: string | undefined) => void;
  onOpen?: (key: string) => void;
}) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const height = wanted ?? Math.round(Math.min(640, width * 0.52));
  const spots = useMemo(() => [...places, ...arcs.flatMap(a => [a.from, a.to])], [places, arcs]);
  const meridian = fit ? Math.round(meridianFor(spots)) : 0;

  const drawn = useMemo(() => {
    const projection = geoNaturalEarth1().rotate([-meridian, 0]);
    projection.fitExtent(
      [
        [4, 4],
        [width - 4, height - 4],
      ],
      { type: "Sphere" },
    );
    const path = geoPath(projection);
    return {
      projection,
      path,
      sphere: path({ type: "Sphere" }) ?? "",
      land: path(land) ?? "",
      borders: path(borders) ?? "",
    };
  }, [width, height, meridian]);

  const marks = useMemo(
    () => ({
      places: places.map(p => ({
        ...p,
        at: drawn.projection([p.lon, p.lat]) ?? [0, 0],
        circle: p.radiusKm > 0 ? (drawn.path(geoCircle().center([p.lon, p.lat]).radius(angleOf(p.radiusKm))()) ?? "") : "",
      })),
      arcs: arcs.map(a => ({
        ...a,
        line:
          drawn.path({
            type: "LineString",
            coordinates: [
              [a.from.lon, a.from.lat],
              [a.to.lon, a.to.lat],
            ],
          }) ?? "",
        start: drawn.projection([a.from.lon, a.from.lat]) ?? [0, 0],
        end: drawn.projection([a.to.lon, a.to.lat]) ?? [0, 0],
      })),
    }),
    [places, arcs, drawn],
  );

  const start = useMemo(() => {
    if (!fit) return whole;
    const points = spots.map(s => drawn.projection([s.lon, s.lat]) ?? ([0, 0] as [number, number]));
    return fitted(points, width, height);
  }, [fit, spots, drawn, width, height]);
  const [view, setView] = useState<View>(start);
  const moved = useRef(false);
  useEffect(() => {
    if (!moved.current) setView(start);
    else setView(v => held(v, width, height));
  }, [start, width, height]);
  const change = (next: (v: View) => View) => {
    moved.current = true;
    setView(next);
  };
  const zoom = (by: number, at: [number, number] = [width / 2, height / 2]) => change(v => zoomed(v, by, at, width, height));
  const pan = (x: number, y: number) => change(v => held({ k: v.k, x: v.x + x, y: v.y + y }, width, height));
  const reset = () => {
    moved.current = false;
    setView(start);
  };

  // The wheel zooms with Ctrl (which is what a pinch sends) and else scrolls the page. React's own listener could not say no.
  const svg = useRef<SVGSVGElement>(null);
  useEffect(() => {
    const element = svg.current;
    if (!element) return;
    const wheel = (event: WheelEvent) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const box = element.getBoundingClientRect();
      moved.current = true;
      setView(v =>
        zoomed(v, Math.exp(-event.deltaY / 200), [event.clientX - box.left, event.clientY - box.top], width, height),
      );
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  }, [width, height]);

  const dragged = useRef<{ x: number; y: number; far: boolean } | null>(null);
  const drag = {
    onPointerDown: (e: PointerEvent<SVGSVGElement>) => {
      if (e.button === 0) dragged.current = { x: e.clientX, y: e.clientY, far: false };
    },
    onPointerMove: (e: PointerEvent<SVGSVGElement>) => {
      const d = dragged.current;
      if (!d) return;
      if (!d.far && Math.hypot(e.clientX - d.x, e.clientY - d.y) < 4) return;
      if (!d.far) e.currentTarget.setPointerCapture(e.pointerId);
      pan(e.clientX - d.x, e.clientY - d.y);
      dragged.current = { x: e.clientX, y: e.clientY, far: true };
    },
    onPointerUp: () => {
      dragged.current = null;
    },
    onPointerCancel: () => {
      dragged.current = null;
    },
  };

  function key(event: KeyboardEvent) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const does: Record<string, () => void> = {
      "+": () => zoom(1.6),
      "=": () => zoom(1.6),
      "-": () => zoom(1 / 1.6),
      "0": reset,
      ArrowLeft: () => pan(60, 0),
      ArrowRight: () => pan(-60, 0),
      ArrowUp: () => pan(0, 60),
      ArrowDown: () => pan(0, -60),
    };
    const act = does[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  const choose = (keyOf: string) => ({
    onPointerEnter: () => !dragged.current?.far && onChoose?.(keyOf),
    onPointerLeave: () => onChoose?.(undefined),
    onClick: () => onOpen?.(keyOf),
  });
  const state = (keyOf: string) => (chosen === undefined ? "" : chosen === keyOf ? " chosen" : " dimmed");
  const last = (list: { key: string }[]) => [...list].sort((a, b) => Number(a.key === chosen) - Number(b.key === chosen));
  const pointed = places.find(p => p.key === chosen) ?? arcs.find(a => a.key === chosen);

  return (
    <div className="map" ref={frame}>
      <svg
        ref={svg}
        width={width}
        height={height}
        role="img"
        aria-label={`${label}. Arrow keys move it, plus and minus zoom, 0 shows all. The list on this page has the same.`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: see above
        tabIndex={0}
        onKeyDown={key}
        {...drag}
      >
        <g transform={`translate(${view.x} ${view.y}) scale(${view.k})`}>
          <path className="sea" d={drawn.sphere} />
          <path className="land" d={drawn.land} />
          <path className="borders" d={drawn.borders} />
          {marks.places.map(p =>
            p.circle ? <path key={p.key} className={`accuracy tone-fill-${p.tone}${state(p.key)}`} d={p.circle} /> : null,
          )}
          {(last(marks.arcs) as typeof marks.arcs).map(a => (
            <g key={a.key} className={`arc${state(a.key)}`} {...choose(a.key)}>
              <path className="arc-hit" d={a.line} />
              <path className={`arc-line tone-stroke-${a.tone}`} d={a.line} />
              <circle className="arc-start" cx={a.start[0]} cy={a.start[1]} r={3 / view.k} />
              <circle className={`arc-end tone-fill-${a.tone}`} cx={a.end[0]} cy={a.end[1]} r={4 / view.k} />
            </g>
          ))}
          {(last(marks.places) as typeof marks.places).map(p => (
            <circle
              key={p.key}
              className={`spot tone-fill-${p.tone}${state(p.key)}`}
              cx={p.at[0]}
              cy={p.at[1]}
              r={p.size / view.k}
              {...choose(p.key)}
            />
          ))}
        </g>
      </svg>
      {pointed && (
        <p className="map-tip" aria-hidden="true">
          {pointed.label}
        </p>
      )}
      <div className="map-buttons">
        <button type="button" className="quiet" aria-label="Zoom in" onClick={() => zoom(1.6)}>
          +
        </button>
        <button type="button" className="quiet" aria-label="Zoom out" onClick={() => zoom(1 / 1.6)}>
          −
        </button>
        <button type="button" className="quiet" aria-label="Show all" onClick={reset}>
          ⤢
        </button>
      </div>
    </div>
  );
}
