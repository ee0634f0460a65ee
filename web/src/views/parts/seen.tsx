import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";
import { AppLink, Empty, NetworkLink, Panel, SessionLink, Tag, Text, Time } from "../../components";
import { count, distance } from "../../format/numbers";
import { country } from "../../format/places";

type Seen = Schemas["Seen"];

const fewest = 8;

/** SeenList shows what was seen of one kind, with a bar for how often. The first are shown, the rest on demand. */
export function SeenList({
  title,
  of,
  empty,
  label,
  note,
}: {
  title: string;
  of: Seen[];
  empty: string;
  label: (one: Seen) => ReactNode;
  note?: string;
}) {
  const most = Math.max(1, ...of.map(one => one.events));
  const item = (one: Seen) => (
    <li key={one.key || one.label}>
      <span className="seen-label">{label(one)}</span>
      <span className="seen-count">
        {count(one.events)}
        {one.failures > 0 && <span className="tone-warn"> · {count(one.failures)} failed</span>}
      </span>
      <span className="seen-bar" aria-hidden="true">
        <i style={{ width: `${Math.max(1, (one.events / most) * 100)}%` }} />
      </span>
      <span className="seen-when soft">
        <Time value={one.first} /> – <Time value={one.last} />
      </span>
    </li>
  );
  return (
    <Panel title={title} note={note ?? (of.length > 0 ? String(of.length) : undefined)}>
      {of.length === 0 ? <Empty>{empty}</Empty> : <ul className="seen">{of.slice(0, fewest).map(item)}</ul>}
      {of.length > fewest && (
        <details>
          <summary>{of.length - fewest} more</summary>
          <ul className="seen">{of.slice(fewest).map(item)}</ul>
        </details>
      )}
    </Panel>
  );
}

/** Labels of what is seen, each with a link to more where there is such a page. */
export const placeLabel = (one: Seen) => (
  <>
    <Text value={one.location?.city || one.location?.region || one.label} limit={60} />
    {one.location?.country && <> · {country(one.location.country)}</>}
    {one.location && one.location.radius_km > 0 && <span className="soft"> ± {distance(one.location.radius_km)}</span>}
  </>
);

export const deviceLabel = (one: Seen) => <Text value={one.label || one.key} limit={100} />;

export const networkLabel = (one: Seen) => (
  <>
    <NetworkLink prefix={one.network?.prefix || one.key} />{" "}
    <Text value={[one.network?.asn ? `AS${one.network.asn}` : "", one.network?.org ?? ""].join(" ").trim()} limit={60} />{" "}
    {one.network?.classes?.map(name => (
      <Tag key={name}>{name}</Tag>
    ))}
  </>
);

export const appLabel = (tenant: string) => (one: Seen) =>
  one.key ? <AppLink tenant={tenant} app={one.key} name={one.label} /> : <Text value={one.label} limit={80} />;

export const sessionLabel = (tenant: string) => (one: Seen) => <SessionLink tenant={tenant} session={one.key} />;

/** Where, with what and for what: the four lists of a person or a session. */
export function Surroundings({ tenant, of }: { tenant: string; of: Schemas["SessionProfile"] | Schemas["UserProfile"] }) {
  return (
    <div className="grid halves">
      <SeenList title="Places" of={of.places} empty="No event had a place." label={placeLabel} />
      <SeenList title="Devices" of={of.devices} empty="No event told the device." label={deviceLabel} />
      <SeenList title="Networks" of={of.networks} empty="No event had an address." label={networkLabel} />
      <SeenList title="Apps" of={of.apps} empty="No event named an app." label={appLabel(tenant)} />
    </div>
  );
}
