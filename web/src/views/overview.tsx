import { useMemo } from "react";
import { Navigate, useSearchParams } from "react-router";
import type { Schemas } from "../api/client";
import { useGet } from "../api/queries";
import { type Band, Ranked, TimeBars } from "../charts";
import {
  Answered,
  Empty,
  FindingLine,
  Page,
  Panel,
  pathOf,
  RequirementLine,
  Severity,
  severities,
  Table,
  Text,
  Time,
  To,
  UserLink,
} from "../components";
import { compact, count, duration, percent } from "../format/numbers";
import { country } from "../format/places";
import { useZone, when } from "../format/time";
import { useSearch } from "../shell/search";
import { type Span, useSpan } from "../shell/span";
import "./overview.css";
import { Refused, SourceState } from "./parts/source-health";

type Overview = Schemas["Overview"];

/** The start, or the page of the person that an alert's link names: /?tenant=…&user=… */
export function Component() {
  const [search] = useSearchParams();
  const user = search.get("user");
  const tenant = search.get("tenant");
  const person = user && tenant ? pathOf("users", tenant, user) : undefined;
  if (person) {
    const rest = new URLSearchParams(search);
    rest.delete("user");
    rest.delete("tenant");
    return <Navigate replace to={{ pathname: person, search: rest.toString() }} />;
  }
  return <Start />;
}

function Start() {
  const span = useSpan();
  const overview = useGet("/v1/overview", {}, { span, live: { finding: true, requirement: true }, every: 15_000 });
  return (
    <Page title="Overview">
      <div className="overview-first">
        <Answered query={overview} loading="Counting">
          {o => <Counts of={o} span={span} />}
        </Answered>
      </div>
      <div className="grid-wide">
        <LatestFindings span={span} />
        <div className="column">
          <EnforcementPanel span={span} />
          <OpenStepUps span={span} />
          <Sources />
        </div>
      </div>
    </Page>
  );
}

function Counts({ of: o, span }: { of: Overview; span: Span }) {
  const [, change] = useSearch();
  const show = (from: string, to: string) =>
    change(next => {
      next.delete("range");
      next.set("from", from);
      next.set("to", to);
    });
  const zone = useZone();
  const series = useMemo(() => o.series ?? [], [o.series]);
  const times = useMemo(() => series.map(p => p.time), [series]);
  const bands = useMemo(() => bandsOf(series), [series]);
  const failures = series.reduce((sum, p) => sum + p.failures, 0);
  const asked = o.requirements.open + o.requirements.satisfied + o.requirements.expired;
  return (
    <>
      {o.events === 0 && o.newest_event && <Elsewhere newest={o.newest_event} show={show} />}
      {o.events === 0 && !o.newest_event && (
        <Empty>
          <p>
            Nothing has arrived yet. Send sign-ins with <code>countersign simulate</code>, connect a source, or{" "}
            <code>POST /v1/events</code> to ingest: they show up here within a second.
          </p>
        </Empty>
      )}
      <dl className="tiles">
        <Tile
          name="Events"
          value={o.events}
          note={o.events > 0 ? `${percent(failures / o.events)} failed or blocked` : undefined}
        />
        <Tile name="Active findings" value={o.findings} path="/findings" query={{ disposition: "active" }} note={gravest(o)} />
        <Tile
          name="Step-ups open"
          path="/step-ups"
          query={{ status: "open" }}
          value={o.requirements.open}
          tone="warn"
          note={asked > 0 ? `of ${count(asked)} asked for` : "none asked for"}
        />
        <Tile
          name="Satisfied"
          path="/step-ups"
          query={{ status: "satisfied" }}
          value={o.requirements.satisfied}
          tone="good"
          note={asked > 0 ? `${percent(o.requirements.satisfied / asked)} proved who they are` : undefined}
        />
        <Tile
          name="Expired"
          path="/step-ups"
          query={{ status: "expired" }}
          value={o.requirements.expired}
          tone="bad"
          note={asked > 0 ? `${percent(o.requirements.expired / asked)} gave no proof` : undefined}
        />
      </dl>
      <div className="overview-top">
        <Panel
          title="Sign-ins and findings"
          className="overview-chart"
          note={`${when(o.from, "short", zone).slice(0, -3)} to ${when(o.to, "short", zone).slice(0, -3)}${zone === "utc" ? " UTC" : ""}${span.tenant ? `, tenant ${span.tenant}` : ""}`}
        >
          <TimeBars
            caption={`${count(o.events)} events and ${count(o.findings)} active findings over time`}
            times={times}
            stepSeconds={o.step_seconds}
            bands={bands}
            onPick={show}
          />
        </Panel>
        <Rankings of={o} />
      </div>
    </>
  );
}

function bandsOf(series: Schemas["Point"][]): Band[] {
  return [
    {
      name: "Events",
      height: 150,
      series: [
        { name: "events", tone: "events", values: series.map(p => Math.max(0, p.events - p.failures)) },
        { name: "failed or blocked", tone: "failures", values: series.map(p => p.failures) },
      ],
    },
    {
      name: "Findings",
      height: 92,
      series: severities.map(name => ({
        name: `${name} findings`,
        tone: name,
        values: series.map(p => p.severities[name]),
      })),
    },
  ];
}

function gravest(o: Overview): string | undefined {
  for (const severity of severities) {
    const n = o.severities?.find(s => s.name === severity)?.count ?? 0;
    if (n > 0) return `${count(n)} ${severity}`;
  }
  return undefined;
}

function Elsewhere({ newest, show }: { newest: string; show: (from: string, to: string) => void }) {
  const end = Date.parse(newest) + 1000;
  return (
    <div className="notice">
      <span>
        There are no events in this time. The newest one is of <Time value={newest} style="full" />.
      </span>
      <button
        type="button"
        className="quiet"
        onClick={() => show(new Date(end - 86_400_000).toISOString(), new Date(end).toISOString())}
      >
        Show that day
      </button>
    </div>
  );
}

function Tile({
  name,
  value,
  note,
  tone,
  path,
  query,
}: {
  name: string;
  value: number;
  note?: string;
  tone?: string;
  path?: string;
  query?: Record<string, string>;
}) {
  return (
    <div className={tone && value > 0 ? `tile tile-${tone}` : "tile"}>
      <dt>{name}</dt>
      <dd>
        <To path={path} query={query}>
          <b>{count(value)}</b>
        </To>
        <small>{note}</small>
      </dd>
    </div>
  );
}

function LatestFindings({ span }: { span: Span }) {
  const findings = useGet(
    "/v1/findings",
    { query: { limit: 12, disposition: "active" } },
    { span, live: { finding: true }, every: 60_000 },
  );
  return (
    <Panel
      title="Latest findings"
      actions={
        <To path="/findings" query={{ disposition: "active" }}>
          All findings
        </To>
      }
    >
      <Answered query={findings}>
        {page =>
          page.findings.length === 0 ? (
            <Empty>Nothing unusual in this time. Findings show up here as they happen.</Empty>
          ) : (
            <ul className="lines">
              {page.findings.map(f => (
                <li key={f.id}>
                  <FindingLine of={f} />
                </li>
              ))}
            </ul>
          )
        }
      </Answered>
    </Panel>
  );
}

function OpenStepUps({ span }: { span: Span }) {
  const open = useGet(
    "/v1/revocations",
    { query: { limit: 5, status: "open" } },
    { span, live: { requirement: true }, every: 30_000 },
  );
  return (
    <Panel
      title="Waiting for a second proof"
      actions={
        <To path="/step-ups" query={{ status: "open" }}>
          All open
        </To>
      }
    >
      <Answered query={open}>
        {page =>
          page.revocations.length === 0 ? (
            <Empty>Nobody who was asked for a second proof in this time has still to give it.</Empty>
          ) : (
            <ul className="lines compact">
              {page.revocations.map(r => (
                <li key={r.id}>
                  <RequirementLine of={r} />
                </li>
              ))}
            </ul>
          )
        }
      </Answered>
    </Panel>
  );
}

const stageNames: Record<Schemas["Stage"]["stage"], [name: string, what: string]> = {
  decided: ["Decided", "from the event's arrival to the decision"],
  delivered: ["Delivered", "from there to the app"],
  challenged: ["Challenged", "to the app's asking"],
  satisfied: ["Satisfied", "to the second proof"],
  revoked: ["Signed out", "to the end of the session"],
};

/** How long it takes from an event to a decision, and from there until the app has asked and the person has answered. */
function EnforcementPanel({ span }: { span: Span }) {
  const enforcement = useGet("/v1/enforcement", {}, { span, live: { receipt: true }, every: 30_000 });
  return (
    <Panel title="From event to enforcement" note="half, and 95 of 100, within">
      <Answered query={enforcement}>
        {e => (
          <>
            <ol className="stages">
              {e.stages.map(stage => {
                const [name, what] = stageNames[stage.stage] ?? [stage.stage, ""];
                return (
                  <li key={stage.stage} title={what}>
                    <span className="stage-name">{name}</span>
                    <b>{stage.count > 0 ? duration(stage.p50_ms) : "–"}</b>
                    <span className="soft">{stage.count > 0 ? duration(stage.p95_ms) : "none yet"}</span>
                    <span className="soft">{compact(stage.count)}</span>
                    <span className="visually-hidden">{what}</span>
                  </li>
                );
              })}
            </ol>
            <p className="soft">
              {e.requirements === 0 ? (
                "Nobody was asked for a second proof in this time."
              ) : (
                <>
                  {count(e.requirements)} asked for, <To path="/step-ups">{count(e.unanswered)} without a receipt of an app</To>
                  .
                </>
              )}
            </p>
            {e.apps.length > 0 && (
              <Table
                small
                caption="Apps by how long they take to enforce"
                rows={e.apps.slice(0, 5)}
                rowKey={a => a.app}
                columns={[
                  { name: "App", cell: a => <Text value={a.app} limit={60} /> },
                  { name: "Enforced", numeric: true, cell: a => count(a.count) },
                  { name: "Half in", numeric: true, cell: a => duration(a.p50_ms) },
                  { name: "95 % in", numeric: true, cell: a => duration(a.p95_ms) },
                ]}
              />
            )}
          </>
        )}
      </Answered>
    </Panel>
  );
}

function Sources() {
  const sources = useGet("/v1/sources", {}, { every: 30_000 });
  return (
    <Panel title="Sources" actions={<To path="/sources">All sources</To>}>
      <Answered query={sources}>
        {s =>
          s.sources.length === 0 ? (
            <Empty>Nothing has sent anything in 30 days. Connect an identity provider in the configuration of ingest.</Empty>
          ) : (
            <Table
              small
              caption="Sources and their health"
              rows={s.sources.slice(0, 8)}
              rowKey={x => `${x.source}/${x.family}`}
              columns={[
                {
                  name: "Source",
                  cell: x => (
                    <>
                      <Text value={x.source || "unnamed"} limit={60} /> <span className="soft">{x.family}</span>
                    </>
                  ),
                },
                {
                  name: "State",
                  tight: true,
                  cell: x => <SourceState of={x} />,
                },
                { name: "Last", numeric: true, cell: x => <Time value={x.accepted} style="ago" /> },
                { name: "In 1 h", numeric: true, cell: x => compact(x.events_1h) },
                { name: "Delay", numeric: true, cell: x => duration(x.delay_p95_ms) },
                {
                  name: "Refused",
                  numeric: true,
                  cell: x => <Refused of={x} format={compact} />,
                },
              ]}
            />
          )
        }
      </Answered>
    </Panel>
  );
}

function Rankings({ of: o }: { of: Overview }) {
  const bySeverity = severities
    .map(name => ({ name, n: o.severities?.find(s => s.name === name)?.count ?? 0 }))
    .filter(s => s.n > 0);
  return (
    <div className="overview-ranks">
      <Panel title="By severity">
        <Ranked
          empty="No active findings in this time."
          of={bySeverity.map(s => ({
            key: s.name,
            value: s.n,
            tone: s.name,
            label: (
              <To path="/findings" query={{ severity: s.name, disposition: "active" }}>
                <Severity value={s.name} />
              </To>
            ),
          }))}
        />
      </Panel>
      <Panel title="By rule">
        <Ranked
          empty="No active findings in this time."
          of={(o.detections ?? []).slice(0, 8).map(d => ({
            key: d.name,
            value: d.count,
            tone: "high",
            label: (
              <To path="/findings" query={{ detection: d.name, disposition: "active" }}>
                {d.name}
              </To>
            ),
          }))}
        />
      </Panel>
      <Panel title="Most affected">
        <Ranked
          empty="Nobody in this time."
          of={(o.users ?? []).slice(0, 8).map(u => ({
            key: `${u.tenant}/${u.user}`,
            value: u.findings,
            tone: u.severity,
            label: <UserLink tenant={u.tenant} user={u.user} name={u.name} />,
          }))}
        />
      </Panel>
      <Panel title="Countries" actions={<To path="/map">Map</To>}>
        <Ranked
          empty="No events in this time."
          of={(o.countries ?? []).slice(0, 8).map(c => ({
            key: c.name,
            value: c.count,
            label: c.name ? <Text value={country(c.name)} limit={60} /> : <span className="soft">unknown</span>,
          }))}
        />
      </Panel>
    </div>
  );
}
