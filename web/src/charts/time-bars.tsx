import { type KeyboardEvent, type PointerEvent, useMemo, useState } from "react";
import { compact, count } from "../format/numbers";
import { useZone, when, whenElse } from "../format/time";
import { niceMax, tickLabel, timeScale } from "./scale";
import { useWidth } from "./width";

export interface Series {
  name: string;
  /** The colour: a class of charts.css, such as "events" or "high". */
  tone: string;
  values: number[];
}

/** A band is one row of bars over the common axis of time, with a scale of its own. Its series are stacked, the first at the bottom. */
export interface Band {
  name: string;
  height: number;
  series: Series[];
}

/**
 * TimeBars draws bars over time. It can be walked with the arrow keys; Enter or a click picks a step. The same numbers
 * are a table below, folded.
 */
export function TimeBars({
  caption,
  times,
  stepSeconds,
  bands,
  onPick,
  pickLabel = "show this time",
}: {
  caption: string;
  /** The start of each step, RFC 3339. */
  times: string[];
  stepSeconds: number;
  bands: Band[];
  onPick?: (from: string, to: string) => void;
  pickLabel?: string;
}) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const [at, setAt] = useState<number>();
  const zone = useZone();
  const left = 40;
  const right = width - 8;
  const gap = 14;
  const n = times.length;
  const first = Date.parse(times[0] ?? "");
  const end = first + n * stepSeconds * 1000;
  const step = (right - left) / Math.max(1, n);
  const height = bands.reduce((sum, band) => sum + band.height + gap, 0) + 18;
  const base = height - 22;

  const drawn = useMemo(() => {
    let y = 4;
    return bands.map(band => {
      const totals = times.map((_, i) => band.series.reduce((sum, s) => sum + (s.values[i] ?? 0), 0));
      const top = niceMax(Math.max(0, ...totals));
      const floor = y + band.height;
      y = floor + gap;
      const bars = band.series.map((series, s) => {
        let path = "";
        for (let i = 0; i < times.length; i++) {
          const value = series.values[i] ?? 0;
          if (value <= 0) continue;
          const below = band.series.slice(0, s).reduce((sum, other) => sum + (other.values[i] ?? 0), 0);
          const low = floor - (below / top) * (band.height - 6);
          const size = Math.max(1.5, (value / top) * (band.height - 6));
          const inset = Math.min(1, step * 0.12);
          path += `M${(left + i * step + inset).toFixed(1)} ${low.toFixed(1)}v${(-size).toFixed(1)}h${Math.max(1, step - 2 * inset).toFixed(1)}v${size.toFixed(1)}z`;
        }
        return { series, path };
      });
      return { band, floor, top, bars };
    });
  }, [bands, times, step]);

  if (n === 0 || Number.isNaN(first)) return null;
  const scale = timeScale(zone, new Date(first), new Date(end), left, right);
  const ticks = scale.ticks(Math.max(2, Math.floor((right - left) / 96)));
  const edge = (i: number) => new Date(first + i * stepSeconds * 1000).toISOString();
  const pick = (i: number | undefined) => i !== undefined && onPick?.(edge(i), edge(i + 1));

  function move(event: KeyboardEvent) {
    const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -n, End: n };
    const by = steps[event.key];
    if (by !== undefined) {
      event.preventDefault();
      setAt(now => Math.max(0, Math.min(n - 1, now === undefined ? (by > 0 ? 0 : n - 1) : now + by)));
    } else if (event.key === "Enter" && onPick) {
      pick(at);
    } else if (event.key === "Escape") {
      setAt(undefined);
    }
  }
  function point(event: PointerEvent<SVGSVGElement>) {
    const box = event.currentTarget.getBoundingClientRect();
    const i = Math.floor((event.clientX - box.left - left) / step);
    setAt(i >= 0 && i < n ? i : undefined);
  }
  const shown = at !== undefined && at < n ? at : undefined;
  const middle = shown === undefined ? 0 : left + (shown + 0.5) * step;

  return (
    <figure className="chart">
      <Legend bands={bands} />
      <div className="chart-frame" ref={frame}>
        <svg
          width={width}
          height={height}
          role="img"
          aria-label={`${caption}. ${onPick ? "Arrow keys walk through it, Enter picks. " : "Arrow keys walk through it. "}The table below has the numbers.`}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: see above
          tabIndex={0}
          className={onPick ? "pickable" : undefined}
          onKeyDown={move}
          onPointerMove={point}
          onPointerLeave={() => setAt(undefined)}
          onBlur={() => setAt(undefined)}
          onClick={() => pick(shown)}
        >
          {drawn.map(({ band, floor, top, bars }) => (
            <g key={band.name}>
              {[top, top / 2].map(value => {
                const y = floor - (value / top) * (band.height - 6);
                return Number.isInteger(value) || value === top ? (
                  <g key={value}>
                    <line className="grid-line" x1={left} x2={right} y1={y} y2={y} />
                    <text className="axis" x={left - 6} y={y + 4} textAnchor="end">
                      {compact(value)}
                    </text>
                  </g>
                ) : null;
              })}
              {bars.map(({ series, path }) => (
                <path key={series.name} className={`bar tone-fill-${series.tone}`} d={path} />
              ))}
              <line className="base-line" x1={left} x2={right} y1={floor + 0.5} y2={floor + 0.5} />
            </g>
          ))}
          {ticks.map(tick => (
            <g key={tick.getTime()}>
              <line className="base-line" x1={scale(tick)} x2={scale(tick)} y1={base + 2} y2={base + 6} />
              <text className="axis" x={scale(tick)} y={base + 18} textAnchor="middle">
                {tickLabel(tick, zone, end - first)}
              </text>
            </g>
          ))}
          {shown !== undefined && <rect className="cursor" x={left + shown * step} y={0} width={step} height={base} />}
        </svg>
        {shown !== undefined && (
          <div
            className="tip"
            role="status"
            style={middle > width / 2 ? { right: width - middle + step / 2 + 6 } : { left: middle + step / 2 + 6 }}
          >
            <strong>{when(edge(shown), "short", zone)}</strong> <span className="soft">{whenElse(edge(shown), zone)}</span>
            {bands.flatMap(band =>
              band.series.map(s => (
                <span key={band.name + s.name} className="tip-line">
                  <i className={`key tone-fill-${s.tone}`} aria-hidden="true" /> {s.name} <b>{count(s.values[shown] ?? 0)}</b>
                </span>
              )),
            )}
            {onPick && <span className="soft">Click or Enter to {pickLabel}</span>}
          </div>
        )}
      </div>
      <details className="chart-table">
        <summary>As a table</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
        <div className="chart-table-frame" tabIndex={0}>
          <table>
            <caption className="visually-hidden">{caption}</caption>
            <thead>
              <tr>
                <th scope="col">Time</th>
                {bands.flatMap(band =>
                  band.series.map(s => (
                    <th key={band.name + s.name} scope="col" className="numeric">
                      {s.name}
                    </th>
                  )),
                )}
              </tr>
            </thead>
            <tbody>
              {times.map((time, i) =>
                bands.some(band => band.series.some(s => s.values[i])) ? (
                  <tr key={time}>
                    <th scope="row">{when(time, "short", zone)}</th>
                    {bands.flatMap(band =>
                      band.series.map(s => (
                        <td key={band.name + s.name} className="numeric">
                          {count(s.values[i] ?? 0)}
                        </td>
                      )),
                    )}
                  </tr>
                ) : null,
              )}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}

function Legend({ bands }: { bands: Band[] }) {
  return (
    <figcaption className="legend">
      {bands.flatMap(band =>
        band.series.map(s => (
          <span key={band.name + s.name}>
            <i className={`key tone-fill-${s.tone}`} aria-hidden="true" /> {s.name}
          </span>
        )),
      )}
    </figcaption>
  );
}
