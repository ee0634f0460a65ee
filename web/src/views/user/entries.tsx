import { useMemo } from "react";
import type { Schemas } from "../../api/client";
import { ofUser } from "../../api/live";
import { usePages } from "../../api/queries";
import {
  Answered,
  Choices,
  Code,
  Empty,
  FindingLink,
  More,
  Panel,
  SessionLink,
  Severity,
  Status,
  Text,
  Time,
} from "../../components";
import type { Span } from "../../shell/span";
import { actionName } from "../finding/words";
import { EventLine } from "../parts/event-line";

type Entry = Schemas["Entry"];

const kinds = ["event", "finding", "requirement", "receipt"] as const;
type Kind = (typeof kinds)[number];
const isKind = (text: string): text is Kind => (kinds as readonly string[]).includes(text);
const rowsOf = (page: Schemas["TimelineAnswerBody"]) => page.entries;
const names: Record<Kind, string> = { event: "events", finding: "findings", requirement: "step-ups", receipt: "what apps did" };

/** Entries is all that happened to a user, newest first. */
export function Entries({ tenant, user, span, kind }: { tenant: string; user: string; span: Span; kind: string }) {
  const params = useMemo(() => {
    const chosen = kind.split(",").filter(isKind);
    return { path: { tenant, user }, query: chosen.length > 0 ? { kind: chosen } : {} };
  }, [tenant, user, kind]);
  const list = usePages("/v1/users/{tenant}/{user}/timeline", params, rowsOf, {
    span,
    live: ofUser(tenant, user, "finding", "requirement", "receipt"),
  });
  return (
    <Panel
      title="All that happened"
      note="newest first"
      actions={<Choices name="kind" label="Only" options={kinds} render={k => (isKind(k) ? names[k] : k)} />}
    >
      <Answered query={{ ...list, data: list.rows }}>
        {rows =>
          rows.length === 0 ? (
            <Empty>Nothing of it in this time. Look at a longer time, or at other kinds.</Empty>
          ) : (
            <>
              <ol className="entries">
                {rows.map(entry => (
                  <li key={`${entry.kind}${entry.id}`} className={`entry ${entry.kind}`}>
                    <span className="entry-time">
                      <Time value={entry.time} />
                    </span>
                    <div className="entry-what">
                      <What entry={entry} tenant={tenant} />
                    </div>
                  </li>
                ))}
              </ol>
              <More query={list} />
            </>
          )
        }
      </Answered>
    </Panel>
  );
}

function What({ entry, tenant }: { entry: Entry; tenant: string }) {
  if (entry.kind === "event" && entry.event) return <EventLine event={entry.event as unknown as Schemas["Event"]} />;
  if (entry.kind === "finding" && entry.finding) {
    const finding = entry.finding as unknown as Schemas["Finding"];
    return (
      <>
        <Severity value={finding.severity} />{" "}
        <FindingLink id={finding.id}>
          {finding.detection} {finding.title}
        </FindingLink>{" "}
        {finding.disposition !== "active" && <Status value={finding.disposition} />}
        <span className="summary">
          <Text value={finding.summary} limit={240} />
        </span>
      </>
    );
  }
  if (entry.requirement) {
    const r = entry.requirement;
    return (
      <>
        <b>Asked to {actionName(r.action)}</b> <Status value={r.status} />{" "}
        {r.session ? <SessionLink tenant={tenant} session={r.session} /> : <span className="soft">all sessions</span>}
        <span className="summary">
          <Text value={r.reason} limit={240} />
        </span>
      </>
    );
  }
  if (entry.receipt) {
    return (
      <>
        <b>
          <Text value={entry.receipt.app} limit={80} />
        </b>{" "}
        {entry.receipt.status} <Code value={entry.receipt.requirement} limit={12} />
      </>
    );
  }
  return null;
}
