import { useMemo } from "react";
import type { Schemas } from "../api/client";
import { usePages } from "../api/queries";
import {
  Answered,
  Choice,
  Choices,
  Empty,
  Filters,
  More,
  NetworkLink,
  Page,
  Panel,
  Severity,
  type SeverityName,
  Status,
  severities,
  Tag,
  Text,
  Time,
  To,
  Typed,
  UserLink,
  useFilter,
} from "../components";
import { count } from "../format/numbers";
import { useSpan } from "../shell/span";
import { actions } from "./policies";
import "./alerts.css";

type Alert = Schemas["Alert"];
type Delivery = Schemas["AlertDelivery"];

const alertsOf = (page: { alerts: Alert[] | null }) => page.alerts;

const kinds: [Alert["kind"], string][] = [
  ["user", "a person"],
  ["network", "a network"],
  ["breaker", "the breaker"],
  ["flood", "many at once"],
];

/** Component is the incidents that people were told of, and what became of the messages. */
export function Component() {
  const span = useSpan();
  const [kind] = useFilter("kind");
  const [severity] = useFilter("severity");
  const [state] = useFilter("state");
  const [user] = useFilter("user");
  const query = useMemo(
    () => ({
      limit: 50,
      kind: (kind || undefined) as Alert["kind"] | undefined,
      severity: severity ? (severity.split(",") as SeverityName[]) : undefined,
      state: (state || undefined) as "open" | "closed" | undefined,
      user: user || undefined,
    }),
    [kind, severity, state, user],
  );
  const alerts = usePages("/v1/alerts", { query }, alertsOf, { span, every: 10_000 });
  return (
    <Page
      title="Alerts"
      lead="What people were told. All that belongs together is one incident with one message, that is updated and resolved where it was sent."
    >
      <Panel title="Incidents">
        <Filters names={["kind", "severity", "state", "user"]}>
          <Choice name="kind" label="About" options={kinds} />
          <Choice name="state" label="State" options={["open", "closed"]} />
          <Choices name="severity" label="Severity" options={severities} render={s => <Severity value={s} />} />
          <Typed name="user" label="Person" placeholder="the person's id" />
        </Filters>
        <Answered query={{ ...alerts, data: alerts.rows }}>
          {rows =>
            rows.length === 0 ? (
              <Empty>
                Nobody was told of anything of that kind in this time. Incidents are made by <code>countersign courier</code>{" "}
                when its <code>notify</code> section names a target: Slack, Teams, PagerDuty, mail and others, docs/alerts.md.
              </Empty>
            ) : (
              <>
                <ul className="lines incidents">
                  {rows.map(a => (
                    <li key={a.id}>
                      <Incident of={a} />
                    </li>
                  ))}
                </ul>
                <More query={alerts} />
              </>
            )
          }
        </Answered>
      </Panel>
    </Page>
  );
}

const endings: Record<NonNullable<Alert["ending"]>, string> = {
  satisfied: "ended: proved",
  expired: "ended: no proof came",
  quiet: "ended: nothing more came",
};

function Incident({ of: a }: { of: Alert }) {
  return (
    <article className="incident">
      <div className="line-head">
        <Time value={a.opened} />
        <Severity value={a.severity} />
        {a.kind === "user" && a.user && <UserLink tenant={a.tenant} user={a.user} name={a.user_name} />}
        {a.kind === "network" && a.network && <NetworkLink prefix={a.network} />}
        <strong>
          <Text value={a.title} limit={200} />
        </strong>
        {a.closed ? (
          <Status value={a.ending ?? "quiet"} tone={a.ending === "expired" ? "bad" : "quiet"}>
            {a.ending ? endings[a.ending] : "ended"} <Time value={a.closed} />
          </Status>
        ) : (
          <Status value="open" />
        )}
        {a.action && (
          <Tag
            title={
              a.in_force ? undefined : "It was not done: the policy only watches, the breaker holds, or it was done before"
            }
          >
            {actions[a.action] ?? a.action}
            {!a.in_force && (a.held ? ", held" : ", not done")}
          </Tag>
        )}
      </div>
      <p className="line-text">
        <Text value={a.summary} limit={600} />
      </p>
      {a.reason && a.reason !== a.summary && (
        <p className="line-text">
          <Text value={a.reason} limit={600} />
        </p>
      )}
      <p className="line-more">
        {a.detections.map(d => (
          <span key={d}>
            <To
              path="/findings"
              query={{ detection: d, user: a.user, tenant: a.tenant, range: "", from: a.since, to: soonAfter(a) }}
            >
              {d}
            </To>{" "}
          </span>
        ))}
        · {count(a.findings)} {a.findings === 1 ? "finding" : "findings"}
        {a.users > 1 && ` of ${count(a.users)} people`}
        {a.place && (
          <>
            {" · "}
            <Text value={a.place} limit={80} />
          </>
        )}
        {a.app && (
          <>
            {" · "}
            <Text value={a.app} limit={60} />
          </>
        )}
        {a.policy && (
          <>
            {" · policy "}
            <Text value={a.policy} limit={60} />
          </>
        )}
        {a.team && (
          <>
            {" · for "}
            <Text value={a.team} limit={60} />
          </>
        )}
        {" · "}
        <Text value={a.tenant} />
      </p>
      <Told of={a.deliveries} />
    </article>
  );
}

/** soonAfter is the end of the time in which the findings of an incident are. */
function soonAfter(a: Alert): string {
  return new Date(Date.parse(a.closed ?? a.updated) + 60_000).toISOString();
}

const outcomes: Record<Delivery["outcome"], [shown: string, tone: "good" | "bad" | "busy" | "quiet", sign: string]> = {
  sent: ["told", "good", "sent"],
  pending: ["waits", "busy", "queued"],
  summarised: ["in a summary", "quiet", "summarised"],
  dead: ["given up", "bad", "failed"],
};

/** Told is the messages of an incident: to whom, of what, and what became of each. */
function Told({ of: deliveries }: { of: Delivery[] }) {
  if (deliveries.length === 0) return <p className="line-more">No target takes it: no message was made.</p>;
  return (
    <ul className="told" aria-label="Messages">
      {deliveries.map(d => {
        const [shown, tone, sign] = outcomes[d.outcome];
        return (
          <li key={`${d.target}/${d.phase}/${d.created}`}>
            <Status value={sign} tone={tone}>
              {shown}
            </Status>{" "}
            <b>
              <Text value={d.target} limit={80} />
            </b>{" "}
            <span className="soft">
              that it {d.phase === "firing" ? "began" : "ended"}, <Time value={d.created} />
              {d.tries > 1 && `, ${count(d.tries)} tries`}
              {d.outcome === "pending" && d.due && d.tries > 0 && (
                <>
                  , again at <Time value={d.due} style="clock" />
                </>
              )}
              {d.outcome === "dead" && (
                <>
                  {" "}
                  (
                  <To path="/deadletters" query={{ stage: "notify" }}>
                    its dead letter
                  </To>
                  )
                </>
              )}
            </span>
          </li>
        );
      })}
    </ul>
  );
}
