import type { Schemas } from "../../api/client";
import { Code, Empty, FindingLink, SessionLink, Severity, Status, Table, Text, Time, UserLink } from "../../components";
import { actionName } from "../finding/words";

type FindingLine = Schemas["FindingLine"];
type Requirement = Schemas["Requirement"];

/** FindingLines lists findings on a page about something else. */
export function FindingLines({ of, empty, withUser = false }: { of: FindingLine[]; empty: string; withUser?: boolean }) {
  return (
    <Table
      caption="Findings, newest first"
      rows={of}
      rowKey={f => f.id}
      empty={<Empty>{empty}</Empty>}
      columns={[
        { name: "Time", tight: true, cell: f => <Time value={f.time} /> },
        { name: "Severity", tight: true, cell: f => <Severity value={f.severity} /> },
        {
          name: "Finding",
          cell: f => (
            <>
              <FindingLink id={f.id}>
                {f.detection} {f.title}
              </FindingLink>{" "}
              {f.disposition !== "active" && <Status value={f.disposition} />}
              <span className="summary">
                <Text value={f.summary} limit={240} />
              </span>
            </>
          ),
        },
        ...(withUser
          ? [{ name: "User", cell: (f: FindingLine) => <UserLink tenant={f.tenant} user={f.user} name={f.name} /> }]
          : []),
      ]}
    />
  );
}

/** RequirementLines lists requirements: what was asked, of which sessions, and what became of it. */
export function RequirementLines({ of, empty }: { of: Requirement[]; empty: string }) {
  return (
    <Table
      caption="Requirements, newest first"
      rows={of}
      rowKey={r => r.id}
      empty={<Empty>{empty}</Empty>}
      columns={[
        { name: "Opened", tight: true, cell: r => <Time value={r.not_before} /> },
        { name: "Status", tight: true, cell: r => <Status value={r.status} /> },
        { name: "Asks to", cell: r => actionName(r.action) },
        {
          name: "For",
          cell: r => (r.session ? <SessionLink tenant={r.tenant} session={r.session} /> : "all sessions of the user"),
        },
        { name: "Policy", minor: true, cell: r => <Code value={r.policy} limit={60} /> },
        {
          name: "Until",
          tight: true,
          cell: r => (
            <>
              <Time value={r.closed ?? r.expires} />
              {r.status === "open" && <span className="soft"> at the latest</span>}
            </>
          ),
        },
      ]}
    />
  );
}
