import type { Schemas } from "../api/client";
import { place } from "../format/places";
import { Severity, Status, Tag } from "./badges";
import { FindingLink, pathOf, To, UserLink } from "./link";
import { Text } from "./text";
import { Time } from "./time";

/** FindingLine is a finding in one entry of a list: when, how bad, who, what, and what was decided. */
export function FindingLine({ of: f }: { of: Schemas["Finding"] }) {
  const sight = f.evidence.sight;
  return (
    <div className="line">
      <div className="line-head">
        <Time value={f.time} />
        <Severity value={f.severity} />
        <UserLink tenant={f.tenant} user={f.user.id} name={f.user.name} />
        <FindingLink id={f.id}>{f.detection}</FindingLink>
        {f.disposition !== "active" && <Status value={f.disposition} />}
        {f.decision && f.decision.action !== "none" && (
          <Tag title={f.decision.observed ? "The policy only observes: nothing was asked" : undefined}>
            {f.decision.action.replaceAll("_", " ")}
            {f.decision.observed && ", observed"}
          </Tag>
        )}
      </div>
      <p className="line-text">
        <Text value={f.summary || f.title} />
      </p>
      <p className="line-more">
        {place(sight.place)}
        {sight.app?.name && (
          <>
            {" · "}
            <Text value={sight.app.name} limit={60} />
          </>
        )}
        {" · "}
        <Text value={f.tenant} />
      </p>
    </div>
  );
}

/** RequirementLine is a demand for a second proof in one entry of a list. */
export function RequirementLine({ of: r }: { of: Schemas["Requirement"] }) {
  return (
    <div className="line">
      <div className="line-head">
        <Time value={r.closed ?? r.not_before} />
        <Status value={r.status} />
        <Severity value={r.severity} />
        <UserLink tenant={r.tenant} user={r.user} />
        <To path={pathOf("step-ups", r.id)}>{r.action.replaceAll("_", " ")}</To>
        <span className="soft">{r.session ? "one session" : "all sessions"}</span>
      </div>
      <p className="line-text">
        <Text value={r.reason} />
      </p>
      {r.status === "open" && (
        <p className="line-more">
          ends <Time value={r.expires} style="ago" /> · policy <Text value={r.policy} />
        </p>
      )}
    </div>
  );
}
