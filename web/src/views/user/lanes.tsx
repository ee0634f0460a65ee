import { type KeyboardEvent, type PointerEvent, type ReactNode, useRef, useState } from "react";
import type { Schemas } from "../../api/client";
import { useWidth } from "../../charts/width";
import { Empty, NetworkLink, SessionLink, Text, To } from "../../components";
import { duration } from "../../format/numbers";
import { useZone, when, type Zone } from "../../format/time";
import { actionName } from "../finding/words";
import { FindingMarks } from "./lane-findings";
import {
  type Bounds,
  bars,
  brushed,
  type Extent,
  heat,
  lifetime,
  place,
  share,
  shift,
  stack,
  tickStyle,
  ticks,
  zoom,
} from "./lane-layout";

type Lanes = Schemas["Lanes"];
type Lane = Schemas["Lane"];

const fewest = 5;
const bar = 14; // px
const row = 22; // px

/** LaneChart shows a user's time: a lane each for places, devices, networks, sessions and step-ups, with findings marked on all. */
export function LaneChart({
  data,
  tenant,
  user,
  onZoom,
  bounds,
}: {
  data: Lanes;
  tenant: string;
  user: string;
  onZoom: (extent: Extent) => void;
  bounds: () => Bounds;
}) {
  const extent = { from: Date.parse(data.from), to: Date.parse(data.to) };
  const step = data.step_seconds * 1000;
  const zone = useZone();
  const [ref, width] = useWidth<HTMLDivElement>(600);
  const brush = useBrush(extent, onZoom);
  const findings = data.findings.map(f => share(Date.parse(f.time), extent));
  const group = (title: string, lanes: Lane[], label: (lane: Lane) => ReactNode) => (
    <Group
      key={title}
      title={title}
      lanes={lanes}
      label={label}
      extent={extent}
      step={step}
      width={width}
      findings={findings}
    />
  );
  const empty =
    Object.values(data.lanes).every(lanes => lanes.length === 0) && data.requirements.length + data.findings.length === 0;
  const keys = (event: KeyboardEvent) => {
    const next: Record<string, () => Extent> = {
      "+": () => zoom(extent, 0.5, 0.5, bounds()),
      "=": () => zoom(extent, 0.5, 0.5, bounds()),
      "-": () => zoom(extent, 2, 0.5, bounds()),
      ArrowLeft: () => shift(extent, -0.25, bounds()),
      ArrowRight: () => shift(extent, 0.25, bounds()),
    };
    const run = next[event.key];
    if (!run || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    onZoom(run());
  };
  return (
    <div className="lanes">
      <div className="lanes-tools">
        <button type="button" className="quiet" onClick={() => onZoom(shift(extent, -0.5, bounds()))} aria-label="Earlier">
          ←
        </button>
        <button type="button" className="quiet" onClick={() => onZoom(zoom(extent, 0.5, 0.5, bounds()))}>
          Zoom in
        </button>
        <button type="button" className="quiet" onClick={() => onZoom(zoom(extent, 2, 0.5, bounds()))}>
          Zoom out
        </button>
        <button type="button" className="quiet" onClick={() => onZoom(shift(extent, 0.5, bounds()))} aria-label="Later">
          →
        </button>
        <span className="soft">Drag over the lanes to look closer. One step is {duration(step)}.</span>
      </div>
      <div
        className="lanes-frame"
        role="group"
        aria-label="The user’s time. Keys: plus and minus zoom, arrows move."
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it takes the keys + − ← →
        tabIndex={0}
        onKeyDown={keys}
        {...brush.handlers}
      >
        <div className="lane-row axis-row">
          <span className="lane-label soft">{axisDay(extent, zone)}</span>
          <div ref={ref} className="lane-track" data-track>
            <Axis extent={extent} width={width} />
          </div>
        </div>
        <FindingMarks findings={data.findings} extent={extent} width={width} tenant={tenant} user={user} />
        <StepUps requirements={data.requirements} extent={extent} width={width} findings={findings} />
        {group("Places", data.lanes.places, lane => (
          <Text value={lane.label || lane.key} limit={60} />
        ))}
        {group("Devices", data.lanes.devices, lane => (
          <Text value={lane.label || lane.key} limit={60} />
        ))}
        {group("Networks", data.lanes.networks, lane => (
          <>
            {lane.key ? <NetworkLink prefix={lane.key} /> : null}{" "}
            <Text value={lane.label.replace(lane.key, "").replace(/^[\s·]+/, "")} limit={48} className="soft" />
          </>
        ))}
        {group("Sessions", data.lanes.sessions, lane =>
          lane.key ? <SessionLink tenant={tenant} session={lane.key} /> : lane.label,
        )}
        {brush.shown && <div className="brush" style={{ left: brush.shown.left, width: brush.shown.width }} />}
      </div>
      {empty && (
        <Empty>
          Nothing happened in this time.{" "}
          <To path="/findings" query={{ tenant, user }}>
            Findings of the user
          </To>{" "}
          may lie earlier.
        </Empty>
      )}
    </div>
  );
}

/** axisDay names the day of an axis that shows hours, and the clock when it is not the viewer's. */
const axisDay = ({ from, to }: Extent, zone: Zone) =>
  [to - from < 2 * 86400_000 && when(new Date(from).toISOString(), "day", zone), zone === "utc" && "UTC"]
    .filter(Boolean)
    .join(" ");

function Axis({ extent, width }: { extent: Extent; width: number }) {
  const zone = useZone();
  const ahead = zone === "utc" ? 0 : -new Date(extent.from).getTimezoneOffset() * 60_000;
  const found = ticks(extent, Math.max(2, Math.floor(width / 70)), ahead);
  const style = tickStyle(found);
  const midnight = (t: number) => (t + ahead) % 86400_000 === 0;
  return (
    <svg viewBox={`0 0 ${width} 22`} width={width} height="22" aria-hidden="true" className="lane-axis">
      {found.map(t => {
        const x = share(t, extent) * width;
        const text = when(new Date(t).toISOString(), style === "clock" && midnight(t) ? "day" : style, zone);
        return (
          <g key={t}>
            <line x1={x} x2={x} y1="16" y2="22" />
            <text x={Math.min(Math.max(x, 22), width - 22)} y="12" textAnchor="middle">
              {style === "clock" && !midnight(t) ? text.slice(0, 5) : text}
            </text>
          </g>
        );
      })}
    </svg>
  );
}

function Group({
  title,
  lanes,
  label,
  extent,
  step,
  width,
  findings,
}: {
  title: string;
  lanes: Lane[];
  label: (lane: Lane) => ReactNode;
  extent: Extent;
  step: number;
  width: number;
  findings: number[];
}) {
  const [all, setAll] = useState(false);
  if (lanes.length === 0) return null;
  const shown = all || lanes.length <= fewest + 1 ? lanes : lanes.slice(0, fewest);
  const heaviest = Math.max(1, ...lanes.flatMap(lane => bars(lane.points, step).map(b => b.events)));
  return (
    <div className="lane-group">
      <h3>{title}</h3>
      {shown.map(lane => (
        <div className="lane-row" key={lane.key || "other"}>
          <span className="lane-label">{lane.key ? label(lane) : <span className="soft">{lane.label || "others"}</span>}</span>
          <div className="lane-track">
            <Track lane={lane} extent={extent} step={step} width={width} heaviest={heaviest} findings={findings} />
          </div>
        </div>
      ))}
      {shown.length < lanes.length && (
        <button type="button" className="lane-more" onClick={() => setAll(true)}>
          {lanes.length - shown.length} more
        </button>
      )}
    </div>
  );
}

function Track({
  lane,
  extent,
  step,
  width,
  heaviest,
  findings,
}: {
  lane: Lane;
  extent: Extent;
  step: number;
  width: number;
  heaviest: number;
  findings: number[];
}) {
  const zone = useZone();
  const all = bars(lane.points, step);
  const events = lane.points.reduce((sum, p) => sum + p.events, 0);
  const failures = lane.points.reduce((sum, p) => sum + p.failures, 0);
  return (
    <svg
      viewBox={`0 0 ${width} ${row}`}
      width={width}
      height={row}
      role="img"
      aria-label={`${events} events${failures ? `, ${failures} failed` : ""}`}
    >
      <Marks findings={findings} width={width} height={row} />
      {all.map(b => {
        const at = place(b, extent, 3 / width);
        return (
          at && (
            <rect
              key={b.from}
              className={b.failures >= b.events ? "lane-bar failed" : b.failures > 0 ? "lane-bar mixed" : "lane-bar"}
              x={at.x * width}
              width={Math.max(2, at.width * width - 1)}
              y={(row - bar) / 2}
              height={bar}
              rx="2"
              style={{ opacity: heat(b.events, heaviest) }}
            >
              <title>{`${when(new Date(b.from).toISOString(), "short", zone)}: ${b.events} events${b.failures ? `, ${b.failures} failed` : ""}`}</title>
            </rect>
          )
        );
      })}
    </svg>
  );
}

/** Marks are where findings are, across all lanes. */
function Marks({ findings, width, height }: { findings: number[]; width: number; height: number }) {
  const seen = [...new Set(findings.filter(f => f >= 0 && f <= 1).map(f => Math.round(f * width)))];
  return seen.map(x => <line key={x} className="lane-line" x1={x} x2={x} y1="0" y2={height} />);
}

function StepUps({
  requirements,
  extent,
  width,
  findings,
}: {
  requirements: Lanes["requirements"];
  extent: Extent;
  width: number;
  findings: number[];
}) {
  const now = Date.now();
  const zone = useZone();
  if (requirements.length === 0) return null;
  const rows = stack(requirements, r => lifetime(r, now), 4);
  const height = Math.max(1, ...rows.map(r => r.row + 1)) * 20 + 2;
  return (
    <div className="lane-group">
      <h3>Step-ups</h3>
      <div className="lane-row">
        <span className="lane-label">
          <span className="soft">
            {requirements.length} asked, {requirements.filter(r => r.status === "open").length} open
          </span>
        </span>
        <div className="lane-track">
          <svg
            viewBox={`0 0 ${width} ${height}`}
            width={width}
            height={height}
            role="img"
            aria-label={`${requirements.length} requirements; the list below has them`}
          >
            <Marks findings={findings} width={width} height={height} />
            {rows.map(({ thing: r, row: at }) => {
              const where = place(lifetime(r, now), extent, 6 / width);
              return (
                where && (
                  <rect
                    key={r.id}
                    className={`step-up ${r.status}`}
                    x={where.x * width}
                    width={where.width * width}
                    y={at * 20 + 3}
                    height="15"
                    rx="3"
                  >
                    <title>{`${actionName(r.action)}, ${r.status}: opened ${when(r.not_before, "short", zone)}${r.closed ? `, closed ${when(r.closed, "short", zone)}` : ""}`}</title>
                  </rect>
                )
              );
            })}
          </svg>
        </div>
      </div>
    </div>
  );
}

/** useBrush lets a part of the time be drawn with the pointer. */
function useBrush(extent: Extent, onZoom: (extent: Extent) => void) {
  const start = useRef<{ x: number; left: number; width: number; base: number }>(undefined);
  const [shown, setShown] = useState<{ left: number; width: number }>();
  const at = (event: PointerEvent) => event.clientX;
  const handlers = {
    onPointerDown(event: PointerEvent<HTMLDivElement>) {
      const target = event.target as Element;
      if (event.button !== 0 || event.pointerType === "touch" || target.closest("a, button") || !target.closest(".lane-track"))
        return;
      const track = event.currentTarget.querySelector("[data-track]")?.getBoundingClientRect();
      if (!track) return;
      start.current = {
        x: at(event),
        left: track.left,
        width: track.width,
        base: event.currentTarget.getBoundingClientRect().left,
      };
      event.currentTarget.setPointerCapture(event.pointerId);
    },
    onPointerMove(event: PointerEvent<HTMLDivElement>) {
      const s = start.current;
      if (!s) return;
      const clamp = (x: number) => Math.min(s.left + s.width, Math.max(s.left, x));
      const [a, b] = [clamp(s.x), clamp(at(event))];
      setShown({ left: Math.min(a, b) - s.base, width: Math.abs(a - b) });
    },
    onPointerUp(event: PointerEvent<HTMLDivElement>) {
      const s = start.current;
      start.current = undefined;
      setShown(undefined);
      const next = s && brushed(extent, (s.x - s.left) / s.width, (at(event) - s.left) / s.width);
      if (next) onZoom(next);
    },
    onPointerCancel() {
      start.current = undefined;
      setShown(undefined);
    },
  };
  return { handlers, shown };
}
