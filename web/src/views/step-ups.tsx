import { usePages } from "../api/queries";
import {
  Answered,
  Choice,
  Empty,
  Filters,
  More,
  Page,
  Panel,
  pathOf,
  Severity,
  Status,
  Table,
  Text,
  Time,
  To,
  Typed,
  UserLink,
  useFilter,
} from "../components";
import { duration } from "../format/numbers";
import { useSpan } from "../shell/span";

const statuses = ["open", "satisfied", "expired"] as const;

/** Every demand for a second proof, and what became of it. */
export function Component() {
  const span = useSpan();
  const [status] = useFilter("status");
  const [user] = useFilter("user");
  const list = usePages(
    "/v1/revocations",
    { query: { status: statuses.find(s => s === status), user: user || undefined } },
    page => page.revocations,
    { span, live: { requirement: true }, every: 60_000 },
  );
  return (
    <Page title="Step-ups" lead="Who was asked for a second proof of identity, or signed out, and what became of it.">
      <Filters names={["status", "user"]}>
        <Choice name="status" label="Status" options={statuses} />
        <Typed name="user" label="User id" placeholder="the whole id" />
      </Filters>
      <Panel title="Newest first">
        <Answered query={{ ...list, data: list.rows }}>
          {rows => (
            <>
              <Table
                caption="Step-ups, newest first"
                rows={rows}
                rowKey={r => r.id}
                empty={
                  <Empty>
                    {status || user
                      ? "Nothing passes the filters. Clear them, or choose a longer time above."
                      : "Nobody was asked for a second proof in this time."}
                  </Empty>
                }
                columns={[
                  {
                    name: "Asked",
                    tight: true,
                    cell: r => (
                      <To path={pathOf("step-ups", r.id)}>
                        <Time value={r.not_before} />
                      </To>
                    ),
                  },
                  { name: "Status", tight: true, cell: r => <Status value={r.status} /> },
                  { name: "Severity", tight: true, cell: r => <Severity value={r.severity} /> },
                  { name: "Person", cell: r => <UserLink tenant={r.tenant} user={r.user} /> },
                  {
                    name: "What",
                    cell: r => `${r.action.replaceAll("_", " ")}, ${r.session ? "one session" : "all sessions"}`,
                  },
                  { name: "Policy", cell: r => <Text value={r.policy} limit={80} /> },
                  {
                    name: "Took",
                    numeric: true,
                    cell: r => (r.closed ? duration(Date.parse(r.closed) - Date.parse(r.not_before)) : "–"),
                  },
                  { name: "Why", minor: true, cell: r => <Text value={r.reason} limit={160} /> },
                ]}
              />
              <More query={list} />
            </>
          )}
        </Answered>
      </Panel>
    </Page>
  );
}
