import { useMemo } from "react";
import type { Schemas } from "../api/client";
import { usePages } from "../api/queries";
import {
  Answered,
  Choice,
  Code,
  Empty,
  Filters,
  More,
  Page,
  Panel,
  Status,
  Table,
  Text,
  Time,
  Typed,
  UserLink,
  useFilter,
} from "../components";
import { useSpan } from "../shell/span";

type Entry = Schemas["AuditEntry"];

const entriesOf = (page: { entries: Entry[] | null }) => page.entries;

/** via says in words how somebody proved who they are. */
const via: Record<string, string> = {
  link: "one-time link",
  oidc: "organisation",
  token: "token",
  command: "command line",
};

/** Component is the trail of who read a person's data and who did what. */
export function Component() {
  const span = useSpan();
  const [actor] = useFilter("actor");
  const [user] = useFilter("user");
  const [action] = useFilter("action");
  const [outcome] = useFilter("outcome");
  const query = useMemo(
    () => ({
      limit: 100,
      actor: actor || undefined,
      user: user || undefined,
      action: action || undefined,
      outcome: (outcome || undefined) as "done" | "refused" | "failed" | undefined,
    }),
    [actor, user, action, outcome],
  );
  const entries = usePages("/v1/audit", { query }, entriesOf, { span });
  return (
    <Page
      title="Audit"
      lead="Who read a person's data, who did what, and who was refused. An entry is on the log before the answer is given."
    >
      <Panel title="Entries">
        <Filters names={["actor", "user", "action", "outcome"]}>
          <Typed name="actor" label="Who" placeholder="as the trail calls them" />
          <Typed name="user" label="Whose data" placeholder="the person's id" />
          <Typed name="action" label="Action" placeholder="finding. or erase" />
          <Choice name="outcome" label="Outcome" options={["done", "refused", "failed"]} />
        </Filters>
        <Answered query={{ ...entries, data: entries.rows }}>
          {rows => (
            <>
              <Table
                caption="Audit entries, newest first"
                columns={[
                  { name: "When", tight: true, cell: e => <Time value={e.time} /> },
                  {
                    name: "Who",
                    cell: e =>
                      e.actor ? (
                        <>
                          <Text value={e.actor} limit={80} /> <span className="soft">{via[e.via ?? ""] ?? e.via}</span>
                        </>
                      ) : (
                        <span className="soft">somebody unknown</span>
                      ),
                  },
                  { name: "Action", cell: e => <Code value={e.action} /> },
                  {
                    name: "Of",
                    cell: e =>
                      e.user ? <UserLink tenant={e.tenant ?? ""} user={e.user} /> : <Text value={e.target} limit={120} />,
                  },
                  { name: "Outcome", tight: true, cell: e => <Outcome value={e.outcome} /> },
                  { name: "Detail", minor: true, cell: e => <Text value={e.detail} limit={300} /> },
                  { name: "From", minor: true, tight: true, cell: e => <Code value={e.address} /> },
                  { name: "Request", minor: true, tight: true, cell: e => <Code value={e.request} limit={12} /> },
                ]}
                rows={rows}
                rowKey={e => e.id}
                empty={
                  <Empty>
                    Nobody read or did anything of that kind in this time. Ask for a longer time, or clear the filters.
                  </Empty>
                }
              />
              <More query={entries} />
            </>
          )}
        </Answered>
      </Panel>
    </Page>
  );
}

function Outcome({ value }: { value: string }) {
  return <Status value={value} tone={value === "done" ? "good" : value === "refused" ? "warn" : "bad"} />;
}
