import "./people.css";
import { useParams, useSearchParams } from "react-router";
import type { Schemas } from "../api/client";
import { ofUser } from "../api/live";
import { useGet } from "../api/queries";
import { Answered, Code, Empty, Facts, Page, Panel, Severity, Status, Tag, Text, Time, To } from "../components";
import { count } from "../format/numbers";
import { useMay } from "../shell/me";
import { RiskPanel } from "./finding/score";
import { odds } from "./finding/words";
import { RequirementLines } from "./parts/lists";
import { SeenList, Surroundings, sessionLabel } from "./parts/seen";
import { Entries } from "./user/entries";
import { Erase } from "./user/erase";
import { LaneChart } from "./user/lanes";
import { useZoom } from "./user/zoom";

type Profile = Schemas["UserProfile"];

export function Component() {
  const { tenant = "", user = "" } = useParams();
  return <User key={`${tenant}/${user}`} tenant={tenant} user={user} />;
}

function User({ tenant, user }: { tenant: string; user: string }) {
  const [search] = useSearchParams();
  const mayErase = useMay("erase");
  const { span } = useZoom();
  const profile = useGet(
    "/v1/users/{tenant}/{user}",
    { path: { tenant, user } },
    { live: ofUser(tenant, user, "requirement", "finding"), about: `${tenant}/${user}` },
  );
  const name = profile.data?.name;
  return (
    <Page
      title={name || user}
      lead={
        <>
          {profile.data?.type === "workload" && <Tag>a program</Tag>}
          {profile.data?.type === "unresolved" && <Tag>a name that was tried; no account is known for it</Tag>}{" "}
          <Code value={user} limit={256} /> of <Text value={tenant} limit={64} />
        </>
      }
      actions={mayErase && <Erase tenant={tenant} user={user} name={name} />}
    >
      <Answered query={profile} loading="Looking the user up">
        {p => (
          <>
            <Known profile={p} />
            <Timeline profile={p} />
            <Entries tenant={tenant} user={user} span={span} kind={search.get("kind") ?? ""} />
            {p.risk && (
              <RiskPanel
                risk={{ after: p.risk.decibans, parts: p.risk.parts }}
                tenant={tenant}
                user={user}
                title="Risk, as of the newest finding that tells it"
              />
            )}
            <Surroundings tenant={tenant} of={p} />
            <SeenList
              title="Sessions"
              of={p.sessions}
              empty="No event named a session."
              label={sessionLabel(tenant)}
              note="the newest"
            />
          </>
        )}
      </Answered>
    </Page>
  );
}

function Known({ profile: p }: { profile: Profile }) {
  return (
    <div className="grid">
      <Panel title="At a glance">
        <Facts
          of={[
            ["First seen", <Time key="f" value={p.first} style="full" />],
            [
              "Last seen",
              p.last && (
                <>
                  <Time value={p.last} style="full" />{" "}
                  <span className="soft">
                    (<Time value={p.last} style="ago" />)
                  </span>
                </>
              ),
            ],
            ["Events", count(p.events)],
            ["Failed", p.failures > 0 && count(p.failures)],
            [
              "Findings",
              <To
                key="n"
                path="/findings"
                query={{ tenant: p.tenant, user: p.user, range: "90d", from: undefined, to: undefined }}
              >
                {count(p.findings)} active
              </To>,
            ],
            [
              "Of these",
              p.findings > 0 &&
                p.severities
                  .filter(s => s.count > 0)
                  .map(s => (
                    <span key={s.name} className="severity-count">
                      {count(s.count)} <Severity value={s.name} />
                    </span>
                  )),
            ],
            ["Risk", p.risk && `${p.risk.decibans.toFixed(0)} dB, odds of ${odds(p.risk.decibans)}`],
          ]}
        />
      </Panel>
      <Panel
        title="Open step-ups"
        note={p.requirements.length > 0 ? <Status value="open">{p.requirements.length} open</Status> : undefined}
      >
        <RequirementLines of={p.requirements} empty="None: nothing is asked of this user now." />
      </Panel>
    </div>
  );
}

function Timeline({ profile: p }: { profile: Profile }) {
  const { span, set, reset, bounds } = useZoom();
  const lanes = useGet(
    "/v1/users/{tenant}/{user}/lanes",
    { path: { tenant: p.tenant, user: p.user } },
    { span, live: ofUser(p.tenant, p.user, "requirement", "finding") },
  );
  const last = p.last ? Date.parse(p.last) : undefined;
  const nothing = lanes.data && Object.values(lanes.data.lanes).every(rows => rows.length === 0);
  return (
    <Panel
      title="Timeline"
      note={
        span.preset ? undefined : (
          <button type="button" className="link" onClick={reset}>
            show the whole day again
          </button>
        )
      }
    >
      <Answered query={lanes} loading="Drawing the timeline">
        {data => (
          <>
            <LaneChart data={data} tenant={p.tenant} user={p.user} onZoom={set} bounds={bounds} />
            {nothing && last && (
              <Empty>
                The newest event is of <Time value={p.last} style="full" />.{" "}
                <button
                  type="button"
                  className="quiet"
                  onClick={() => set({ from: last - 20 * 3600_000, to: last + 4 * 3600_000 })}
                >
                  Show that day
                </button>
              </Empty>
            )}
          </>
        )}
      </Answered>
    </Panel>
  );
}
