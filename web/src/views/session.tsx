import "./people.css";
import { useParams } from "react-router";
import type { Schemas } from "../api/client";
import { useGet, usePages } from "../api/queries";
import { Answered, Code, Empty, Facts, More, Page, Panel, Text, Time, To, UserLink } from "../components";
import { count, duration } from "../format/numbers";
import { EventLine } from "./parts/event-line";
import { FindingLines, RequirementLines } from "./parts/lists";
import { Surroundings } from "./parts/seen";

const rowsOf = (page: Schemas["EventsAnswerBody"]) => page.events;

export function Component() {
  const { tenant = "", session = "" } = useParams();
  return <Session key={`${tenant}/${session}`} tenant={tenant} session={session} />;
}

function Session({ tenant, session }: { tenant: string; session: string }) {
  const path = { tenant, session };
  const profile = useGet(
    "/v1/sessions/{tenant}/{session}",
    { path },
    {
      live: {
        finding: f => f.tenant === tenant && f.evidence.sight.session === session,
        // One without a session holds for all of the user's.
        requirement: (r, s) => r.tenant === tenant && (r.session ? r.session === session : r.user === s?.user),
      },
    },
  );
  const events = usePages("/v1/sessions/{tenant}/{session}/events", { path }, rowsOf);
  return (
    <Page
      title="Session"
      lead={
        <>
          <Code value={session} limit={256} /> of <Text value={tenant} limit={64} />
        </>
      }
    >
      <Answered query={profile} loading="Looking the session up">
        {s => (
          <>
            {(s.other_users?.length ?? 0) > 0 && (
              <div className="notice" role="note">
                <strong>Seen with more than one user.</strong> A session belongs to one:{" "}
                {s.other_users?.map((other, i) => (
                  <span key={other}>
                    {i > 0 && ", "}
                    <UserLink tenant={tenant} user={other} />
                  </span>
                ))}{" "}
                used it too.
              </div>
            )}
            <Panel title="At a glance">
              <Facts
                of={[
                  ["Who", <UserLink key="w" tenant={tenant} user={s.user} name={s.name} />],
                  ["Began", <Time key="f" value={s.first} style="full" />],
                  ["Last used", <Time key="l" value={s.last} style="full" />],
                  ["For", duration(Date.parse(s.last) - Date.parse(s.first))],
                  ["Events", count(s.events)],
                  ["Failed", s.failures > 0 && count(s.failures)],
                  [
                    "The user’s time",
                    <To
                      key="t"
                      path={`/users/${encodeURIComponent(tenant)}/${encodeURIComponent(s.user)}`}
                      query={{ range: undefined, ...around(s.first, s.last) }}
                    >
                      timeline around it
                    </To>,
                  ],
                ]}
              />
            </Panel>
            <Panel title="Findings" note={s.findings.length > 0 ? String(s.findings.length) : undefined}>
              <FindingLines of={s.findings} empty="None: nothing was found in this session." />
            </Panel>
            <Panel title="Step-ups">
              <RequirementLines of={s.requirements} empty="None: nothing was asked while it was in use." />
            </Panel>
            <Surroundings tenant={tenant} of={s} />
          </>
        )}
      </Answered>
      {!profile.error && (
        <Panel title="Its events" note="newest first">
          <Answered query={{ ...events, data: events.rows }}>
            {rows =>
              rows.length === 0 ? (
                <Empty>The history has none of them any more.</Empty>
              ) : (
                <>
                  <ol className="entries">
                    {rows.map(event => (
                      <li key={event.id} className="entry event">
                        <span className="entry-time">
                          <Time value={event.time} />
                        </span>
                        <div className="entry-what">
                          <EventLine event={event} />
                        </div>
                      </li>
                    ))}
                  </ol>
                  <More query={events} />
                </>
              )
            }
          </Answered>
        </Panel>
      )}
    </Page>
  );
}

/** around is the time of something with some before and after, as a query string has it. */
function around(first: string, last: string) {
  const [a, b] = [Date.parse(first), Date.parse(last)];
  const margin = Math.max(3600_000, (b - a) / 5);
  return { from: new Date(a - margin).toISOString(), to: new Date(b + margin).toISOString() };
}
