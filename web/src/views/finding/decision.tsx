import { useEffect, useState } from "react";
import type { Schemas } from "../../api/client";
import { Code, Empty, Facts, Panel, SessionLink, Severity, Status, Text, Time, To } from "../../components";
import { duration } from "../../format/numbers";
import { byApp, decidedAt, lifeOf, type Step } from "./life";
import { actionName, decisionState, type Finding, type Requirement } from "./words";

type ReceiptLine = Schemas["ReceiptLine"];

/** DecisionPanel shows what policy made of the event's findings, and what became of that. */
export function DecisionPanel({
  finding,
  requirement,
  receipts,
}: {
  finding: Finding;
  requirement?: Requirement;
  receipts: ReceiptLine[];
}) {
  const d = finding.decision;
  return (
    <Panel title="What was decided" note={d ? actionName(d.action) : "nothing"}>
      {d ? (
        <>
          {decisionState(d) && <p>{decisionState(d)}</p>}
          <Facts
            of={[
              ["Action", <strong key="a">{actionName(d.action)}</strong>],
              ["Policy", policyOf(d)],
              ["Version", <Code key="v" value={d.version} limit={40} />],
              ["Mode", d.observed ? "only watches" : d.policy ? "enforced" : ""],
            ]}
          />
          <p className="reason">
            <Text value={d.reason} limit={1200} />
          </p>
        </>
      ) : (
        <p className="soft">No policy was asked: the record carries no decision.</p>
      )}
      {requirement && <Life requirement={requirement} receipts={receipts} accepted={finding.ingested} />}
      {d?.requirement && !requirement && (
        <p className="soft">The history does not have the requirement yet, or has it no more.</p>
      )}
    </Panel>
  );
}

const stepWords: Record<Step["step"], string> = {
  opened: "opened",
  delivered: "delivered",
  challenged: "challenged",
  refused: "refused",
  revoked: "session ended",
  satisfied: "satisfied",
  expired: "expired",
  expires: "runs out",
};

/** Life shows a requirement from its opening to its end, and how long each app took. */
export function Life({
  requirement: r,
  receipts,
  accepted,
}: {
  requirement: Requirement;
  receipts: ReceiptLine[];
  /** When the event was accepted. */
  accepted?: string;
}) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 15_000);
    return () => clearInterval(timer);
  }, []);
  const steps = lifeOf(r, receipts, accepted, now);
  const rows = byApp(steps);
  return (
    <div className="life">
      <h3>
        The requirement <Status value={r.status} /> <Severity value={r.severity} />
      </h3>
      <ol className="steps">
        {steps.map(step => (
          <li key={step.step} className={`step ${step.step}${step.ahead ? " ahead" : ""}`}>
            <b>{stepWords[step.step]}</b>
            <span className="step-ms">
              {step.step === "opened" ? (
                "0 ms"
              ) : step.ms !== undefined ? (
                `after ${duration(step.ms)}`
              ) : (
                <Time value={step.time} style="ago" />
              )}
            </span>
            <span className="soft">
              <Time value={step.time} style="clock" />
            </span>
          </li>
        ))}
      </ol>
      {rows.length > 0 && (
        <p className="soft">
          {decidedAt(receipts)
            ? "Counted from the decision."
            : "Counted from when the event was accepted: when it was decided is not known any more."}
        </p>
      )}
      {rows.length > 0 ? (
        <table className="compact">
          <caption className="visually-hidden">How long each app took, from the decision</caption>
          <thead>
            <tr>
              <th scope="col">App</th>
              {shownSteps(rows).map(step => (
                <th key={step} scope="col">
                  {stepWords[step]}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(row => (
              <tr key={row.app}>
                <th scope="row">
                  <Text value={row.app} limit={60} />
                </th>
                {shownSteps(rows).map(step => {
                  const at = row.at[step];
                  return (
                    <td key={step}>
                      {at ? at.ms !== undefined ? duration(at.ms) : <Time value={at.time} style="clock" /> : "–"}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <Empty>
          No app has said anything of it: either none receives it, or the user was not seen by one. The streams tell who does.
        </Empty>
      )}
      <Facts
        of={[
          ["Holds for", bindsOf(r)],
          ["Proof", (r.acr_values?.length ?? 0) > 0 && <Text value={r.acr_values?.join(", ")} />],
          ["How fresh", r.max_age ? `not older than ${duration(r.max_age * 1000)}` : ""],
          ["Ends by itself", <Time key="e" value={r.expires} style="full" />],
          ["Closed", r.closed && <Time value={r.closed} style="full" />],
          ["Proved by event", r.satisfied_by && <Code value={r.satisfied_by} />],
          ["Requirement", <Code key="id" value={r.id} />],
        ]}
      />
    </div>
  );
}

const policyOf = (d: Schemas["Decision"]) =>
  d.policy ? (
    <To path="/policies" hash={`policy-${d.policy}`}>
      <Text value={d.policy} limit={80} />
    </To>
  ) : (
    "none of them matched"
  );

const bindsOf = (r: Requirement) =>
  r.session ? <SessionLink tenant={r.tenant} session={r.session} /> : "all sessions of the user";

const columns: Step["step"][] = ["delivered", "challenged", "refused", "revoked", "satisfied"];
const shownSteps = (rows: ReturnType<typeof byApp>) => columns.filter(step => rows.some(row => row.at[step]));
