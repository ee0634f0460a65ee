import { useParams } from "react-router";
import { useGet } from "../api/queries";
import {
  Answered,
  Code,
  Empty,
  Facts,
  FindingLine,
  Json,
  Page,
  Panel,
  SessionLink,
  Severity,
  Status,
  Table,
  Text,
  Time,
  To,
  UserLink,
} from "../components";
import { duration } from "../format/numbers";

/** One demand for a second proof: why, of whom, what the apps did, and how long it took. */
export function Component() {
  const { id = "" } = useParams();
  const one = useGet(
    "/v1/revocations/{id}",
    { path: { id } },
    { about: id, live: { requirement: r => r.id === id, receipt: r => r.requirement === id } },
  );
  return (
    <Page title="Step-up">
      <Answered query={one}>
        {({ requirement: r, receipts, findings }) => (
          <>
            <Panel title="What was asked">
              <p className="line-text">
                <Text value={r.reason} />
              </p>
              <Facts
                of={[
                  ["Status", <Status key="" value={r.status} />],
                  ["Severity", <Severity key="" value={r.severity} />],
                  ["Person", <UserLink key="" tenant={r.tenant} user={r.user} />],
                  ["Tenant", <Text key="" value={r.tenant} />],
                  ["What", r.action.replaceAll("_", " ")],
                  ["Session", r.session ? <SessionLink key="" tenant={r.tenant} session={r.session} /> : "all of them"],
                  ["Proof wanted", (r.acr_values ?? []).length > 0 && <Code key="" value={(r.acr_values ?? []).join(", ")} />],
                  ["Asked", <Time key="" value={r.not_before} style="full" />],
                  ["Expires", <Time key="" value={r.expires} style="full" />],
                  ["Closed", r.closed && <Time key="" value={r.closed} style="full" />],
                  ["Took", r.closed && duration(Date.parse(r.closed) - Date.parse(r.not_before))],
                  [
                    "Policy",
                    <To key="" path="/policies" hash={`policy-${r.policy}`}>
                      <Text value={r.policy} limit={80} />
                    </To>,
                  ],
                  ["Rules' version", <Code key="" value={r.policy_version} limit={16} />],
                ]}
              />
            </Panel>
            <div className="grid">
              <Panel title="What the apps did" note="measured from the decision">
                <Table
                  caption="Receipts, oldest first"
                  rows={receipts}
                  rowKey={x => x.id}
                  empty={<Empty>No app has sent a receipt. Apps send them with the SDK; see docs for how.</Empty>}
                  columns={[
                    { name: "Time", tight: true, cell: x => <Time value={x.time} /> },
                    { name: "App", cell: x => <Text value={x.app} limit={60} /> },
                    { name: "Did", tight: true, cell: x => <Status value={x.status} tone="good" /> },
                    { name: "After", numeric: true, cell: x => duration(x.ms) },
                  ]}
                />
              </Panel>
              <Panel title="Because of">
                {findings.length === 0 ? (
                  <Empty>The findings that led to it are older than what is kept.</Empty>
                ) : (
                  <ul className="lines">
                    {findings.map(f => (
                      <li key={f.id}>
                        <FindingLine of={f} />
                      </li>
                    ))}
                  </ul>
                )}
              </Panel>
            </div>
            <Json value={r} />
          </>
        )}
      </Answered>
    </Page>
  );
}
