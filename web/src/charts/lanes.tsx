import { useState } from "react";
import { useNavigate } from "react-router";
import { Text } from "../components/text";
import { count } from "../format/numbers";
import { plain } from "../format/text";
import { useZone, when } from "../format/time";
import { tickLabel, timeScale } from "./scale";
import { useWidth } from "./width";

export interface LaneRow {
  key: string;
  label: string;
  points: { time: string; events: number; failures: number }[];
}

export interface LaneGroup {
  name: string;
  rows: LaneRow[];
}

/** A moment across all lanes, such as a finding. */
export interface LaneMark {
  key: string;
  time: string;
  label: string;
  /** A severity or another tone of charts.css. */
  tone: string;
  href?: string;
}

/** A stretch of time in a row of its own, such as a requirement from when it opened until it was met. */
export interface LaneStretch {
  key: string;
  from: string;
  to: string;
  label: string;
  tone: string;
  href?: string;
}

/**
 * Lanes draws what happened over time in rows that belong together: where a person was, with which devices, by which
 * networks and sessions. A cell is darker the more happened in its step; a stroke through it says that something failed.
 * The same is a table below, folded.
 */
export function Lanes({
  caption,
  from,
  to,
  stepSeconds,
  groups,
  marks = [],
  stretches = [],
}: {
  caption: string;
  from: string;
  to: string;
  stepSeconds: number;
  groups: LaneGroup[];
  marks?: LaneMark[];
  stretches?: LaneStretch[];
}) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const navigate = useNavigate();
  const zone = useZone();
  const [tip, setTip] = useState<{ x: number; y: number; text: string }>();
  const narrow = width < 560;
  const left = narrow ? 92 : 190;
  const right = width - 10;
  const row = 20;
  const heading = 22;
  const start = new Date(from);
  const end = new Date(to);
  const scale = timeScale(zone, start, end, left, right);
  const cell = Math.max(2, scale(new Date(start.getTime() + stepSeconds * 1000)) - left);
  const most = Math.max(1, ...groups.flatMap(g => g.rows.flatMap(r => r.points.map(p => p.events))));

  const top = marks.length > 0 ? 30 : 6;
  let y = top;
  const placed = groups
    .filter(g => g.rows.length > 0)
    .map(g => {
      const at = y;
      y += heading + g.rows.length * row + 4;
      return { ...g, y: at };
    });
  const stretchAt = y;
  if (stretches.length > 0) y += heading + stretches.length * row + 4;
  const height = y + 24;
  const ticks = scale.ticks(Math.max(2, Math.floor((right - left) / 92)));
  const inside = (t: number) => Math.max(left, Math.min(right, t));
  const say = (x: number, at: number, text: string) => setTip({ x, y: at, text });
  const room = narrow ? 12 : 27;

  return (
    <figure className="chart lanes">
      <div className="chart-frame" ref={frame}>
        <svg width={width} height={height} role="group" aria-label={`${caption}. The table below has the same.`}>
          {ticks.map(tick => (
            <g key={tick.getTime()}>
              <line className="grid-line" x1={scale(tick)} x2={scale(tick)} y1={top - 2} y2={height - 20} />
              <text className="axis" x={scale(tick)} y={height - 6} textAnchor="middle">
                {tickLabel(tick, zone, end.getTime() - start.getTime())}
              </text>
            </g>
          ))}
          {placed.map(g => (
            <g key={g.name}>
              <text className="lane-name" x={0} y={g.y + 15}>
                {g.name}
              </text>
              {g.rows.map((r, i) => {
                const ry = g.y + heading + i * row;
                return (
                  <g key={r.key}>
                    <text className="lane-label" x={6} y={ry + 14}>
                      {plain(r.label.length > room ? `${r.label.slice(0, room)}…` : r.label)}
                    </text>
                    <line className="lane-line" x1={left} x2={right} y1={ry + row / 2} y2={ry + row / 2} />
                    {r.points.map(p => {
                      const x = inside(scale(new Date(p.time)));
                      const text = `${plain(r.label)}, ${when(p.time, "short", zone)}: ${count(p.events)} events${p.failures ? `, ${count(p.failures)} failed` : ""}`;
                      return (
                        <g key={p.time} onPointerEnter={() => say(x, ry, text)} onPointerLeave={() => setTip(undefined)}>
                          <rect
                            className={p.failures >= p.events ? "cell failed" : "cell"}
                            x={x}
                            y={ry + 3}
                            width={Math.max(3, Math.min(cell, right - x))}
                            height={row - 6}
                            style={{ opacity: 0.35 + 0.65 * Math.sqrt(p.events / most) }}
                          />
                          {p.failures > 0 && (
                            <line
                              className="cell-failure"
                              x1={x}
                              x2={x + Math.max(3, Math.min(cell, right - x))}
                              y1={ry + row - 3}
                              y2={ry + row - 3}
                            />
                          )}
                        </g>
                      );
                    })}
                  </g>
                );
              })}
            </g>
          ))}
          {stretches.length > 0 && (
            <g>
              <text className="lane-name" x={0} y={stretchAt + 15}>
                Step-ups
              </text>
              {stretches.map((s, i) => {
                const ry = stretchAt + heading + i * row;
                const a = inside(scale(new Date(s.from)));
                const b = Math.max(a + 4, inside(scale(new Date(s.to))));
                return (
                  <g key={s.key} onPointerEnter={() => say(a, ry, s.label)} onPointerLeave={() => setTip(undefined)}>
                    <text className="lane-label" x={6} y={ry + 14}>
                      {plain(s.label.length > room ? `${s.label.slice(0, room)}…` : s.label)}
                    </text>
                    <rect className={`stretch tone-fill-${s.tone}`} x={a} y={ry + 5} width={b - a} height={row - 10} rx="3" />
                  </g>
                );
              })}
            </g>
          )}
          {marks.map(m => {
            const x = inside(scale(new Date(m.time)));
            const text = `${m.label}, ${when(m.time, "short", zone)}`;
            const shape = (
              <>
                <line className={`mark-line tone-stroke-${m.tone}`} x1={x} x2={x} y1={20} y2={height - 20} />
                <path className={`tone-fill-${m.tone}`} d={`M${x} 22l-6 -9a6 6 0 1 1 12 0z`} />
              </>
            );
            const shows = {
              onPointerEnter: () => say(x, 8, text),
              onPointerLeave: () => setTip(undefined),
              onFocus: () => say(x, 8, text),
              onBlur: () => setTip(undefined),
            };
            return m.href ? (
              <a
                key={m.key}
                href={m.href}
                aria-label={text}
                {...shows}
                onClick={event => {
                  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
                  event.preventDefault();
                  navigate(m.href as string);
                }}
              >
                {shape}
              </a>
            ) : (
              <g key={m.key} {...shows}>
                {shape}
              </g>
            );
          })}
        </svg>
        {tip && (
          <div
            className="tip"
            style={tip.x > width / 2 ? { right: width - tip.x + 8, top: tip.y } : { left: tip.x + 12, top: tip.y }}
          >
            {tip.text}
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
                <th scope="col">Lane</th>
                <th scope="col">Of</th>
                <th scope="col">From</th>
                <th scope="col">To</th>
                <th scope="col" className="numeric">
                  Events
                </th>
                <th scope="col" className="numeric">
                  Failed
                </th>
              </tr>
            </thead>
            <tbody>
              {marks.map(m => (
                <tr key={m.key}>
                  <th scope="row">Finding</th>
                  <td>
                    <Text value={m.label} />
                  </td>
                  <td>{when(m.time, "short", zone)}</td>
                  <td colSpan={3} />
                </tr>
              ))}
              {stretches.map(s => (
                <tr key={s.key}>
                  <th scope="row">Step-up</th>
                  <td>
                    <Text value={s.label} />
                  </td>
                  <td>{when(s.from, "short", zone)}</td>
                  <td>{when(s.to, "short", zone)}</td>
                  <td colSpan={2} />
                </tr>
              ))}
              {groups.flatMap(g =>
                g.rows.map(r => (
                  <tr key={g.name + r.key}>
                    <th scope="row">{g.name}</th>
                    <td>
                      <Text value={r.label} />
                    </td>
                    <td>{when(r.points[0]?.time ?? "", "short", zone)}</td>
                    <td>{when(r.points.at(-1)?.time ?? "", "short", zone)}</td>
                    <td className="numeric">{count(r.points.reduce((sum, p) => sum + p.events, 0))}</td>
                    <td className="numeric">{count(r.points.reduce((sum, p) => sum + p.failures, 0))}</td>
                  </tr>
                )),
              )}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}
