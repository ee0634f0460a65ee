import { useMemo, useState } from "react";
import type { Schemas } from "../api/client";
import { useGet } from "../api/queries";
import {
  Answered,
  Choices,
  Empty,
  Filters,
  Page,
  Panel,
  pathOf,
  rank,
  Severity,
  severities,
  Table,
  Text,
  Time,
  To,
  UserLink,
  useFilter,
  useGo,
} from "../components";
import { compact, count, distance } from "../format/numbers";
import { country, place } from "../format/places";
import { plain } from "../format/text";
import { greatCircleKm } from "../map/geometry";
import { type MapArcMark, type MapPlaceMark, MapView } from "../map/map-view";
import { useSpan } from "../shell/span";
import "./map.css";

type Arc = Schemas["Arc"];
type Place = Schemas["MapPlace"];

const placeKey = (p: Place) => `place/${p.lat},${p.lon}`;
const arcKey = (a: Arc) => `arc/${a.finding}/${a.from.lat},${a.from.lon}`;

/** Where people were, how far off each place may be, and who cannot have been in both. */
export function Component() {
  const span = useSpan();
  const [severity] = useFilter("severity");
  const chosenSeverities = severity ? (severity.split(",") as (typeof severities)[number][]) : undefined;
  const world = useGet("/v1/map", { query: { severity: chosenSeverities } }, { span, live: { finding: true }, every: 60_000 });
  return (
    <Page
      title="Map"
      lead="Where sign-ins came from, with how far off each place may be, and the trips that nobody can make."
      actions={
        <Filters names={["severity"]}>
          <Choices name="severity" label="Trips of severity" options={severities} render={s => <Severity value={s} />} />
        </Filters>
      }
    >
      <Answered query={world} loading="Drawing the map">
        {w => <World places={w.places} arcs={w.arcs} />}
      </Answered>
    </Page>
  );
}

function World({ places, arcs }: { places: Place[]; arcs: Arc[] }) {
  const [chosen, setChosen] = useState<string>();
  const go = useGo();
  const most = Math.max(1, ...places.map(p => p.events));
  const marks: MapPlaceMark[] = useMemo(
    () =>
      places.map(p => ({
        key: placeKey(p),
        lat: p.lat,
        lon: p.lon,
        radiusKm: p.radius_km,
        size: 2.5 + 7 * Math.sqrt(p.events / most),
        tone: p.findings > 0 ? "high" : "events",
        label: plain(
          `${place(p)}: ${count(p.events)} events of ${count(p.users)} people, ${count(p.findings)} findings; within ${distance(p.radius_km)}`,
        ),
      })),
    [places, most],
  );
  const lines: MapArcMark[] = useMemo(
    () =>
      [...arcs]
        .sort((a, b) => rank(a.severity) - rank(b.severity))
        .map(a => ({
          key: arcKey(a),
          from: a.from,
          to: a.to,
          tone: a.severity,
          label: `${plain(a.name || a.user)}: ${plain(place(a.from))} to ${plain(place(a.to))}, ${count(Math.round(a.speed_kmh))} km/h`,
        })),
    [arcs],
  );
  const point = (key: string) => ({
    onPointerEnter: () => setChosen(key),
    onPointerLeave: () => setChosen(undefined),
    onFocus: () => setChosen(key),
    onBlur: () => setChosen(undefined),
  });
  const open = (key: string) => {
    const arc = arcs.find(a => arcKey(a) === key);
    if (arc) go(pathOf("findings", arc.finding));
  };

  if (places.length === 0 && arcs.length === 0) {
    return (
      <Empty>
        <p>No event of this time has a place. Choose a longer time above, or install the geo databases with make assets.</p>
      </Empty>
    );
  }
  return (
    <div className="world">
      <Panel
        title="World"
        note={`${count(places.length)} places, ${count(arcs.length)} impossible trips`}
        className="world-map"
      >
        <MapView
          label={`World map with ${count(places.length)} places and ${count(arcs.length)} impossible trips`}
          places={marks}
          arcs={lines}
          chosen={chosen}
          onChoose={setChosen}
          onOpen={open}
        />
        <p className="legend map-legend">
          <span>
            <i className="key tone-fill-events" aria-hidden="true" /> sign-ins
          </span>
          <span>
            <i className="key tone-fill-high" aria-hidden="true" /> with findings
          </span>
          <span>pale circles: how far off a place may be</span>
          <span>lines: trips that nobody can make, from ○ to ●</span>
        </p>
      </Panel>
      <Panel title="Impossible trips" className="world-trips">
        {arcs.length === 0 ? (
          <Empty>Nobody was in two places at once in this time.</Empty>
        ) : (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
          <ul className="lines scrolls" tabIndex={0} aria-label="Impossible trips">
            {arcs.map(a => (
              <li key={arcKey(a)} className={chosen === arcKey(a) ? "chosen" : undefined} {...point(arcKey(a))}>
                <div className="line-head">
                  <Time value={a.time} />
                  <Severity value={a.severity} />
                  <UserLink tenant={a.tenant} user={a.user} name={a.name} />
                </div>
                <p>
                  <Text value={place(a.from)} /> → <Text value={place(a.to)} />
                </p>
                <p className="line-more">
                  {distance(greatCircleKm(a.from, a.to))} at {count(Math.round(a.speed_kmh))} km/h · within{" "}
                  {distance(a.from.radius_km)} and {distance(a.to.radius_km)} ·{" "}
                  <To path={pathOf("findings", a.finding)}>{a.detection}</To>
                </p>
              </li>
            ))}
          </ul>
        )}
      </Panel>
      <Panel title="Places" note="the busiest first" className="world-places scrolls-inside">
        <Table
          caption="Places, the busiest first"
          rows={places.slice(0, 100)}
          rowKey={placeKey}
          rowClass={p => (chosen === placeKey(p) ? "chosen" : undefined)}
          columns={[
            {
              name: "Place",
              cell: p => (
                <button type="button" className="plain" {...point(placeKey(p))} onClick={() => setChosen(placeKey(p))}>
                  <Text value={p.city || p.region || (p.country && country(p.country)) || "unknown"} limit={60} />
                  {p.country && p.city && <span className="soft"> {country(p.country)}</span>}
                </button>
              ),
            },
            { name: "Events", numeric: true, cell: p => compact(p.events) },
            { name: "People", numeric: true, cell: p => compact(p.users) },
            { name: "Findings", numeric: true, cell: p => compact(p.findings) },
            { name: "Within", numeric: true, minor: true, cell: p => distance(p.radius_km) },
          ]}
        />
        {places.length > 100 && <p className="soft">And {count(places.length - 100)} more on the map.</p>}
      </Panel>
    </div>
  );
}
