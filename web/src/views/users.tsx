import "./people.css";
import { useMemo, useRef } from "react";
import type { Schemas } from "../api/client";
import { usePages } from "../api/queries";
import {
  Answered,
  Choice,
  Empty,
  Filters,
  More,
  Page,
  Status,
  Table,
  Tag,
  Text,
  Time,
  Typed,
  UserLink,
  useFilter,
} from "../components";
import { count } from "../format/numbers";
import { useSpan } from "../shell/span";
import { useKeys } from "./parts/keys";
import { stepRow } from "./parts/rows";
import { Shortcuts } from "./parts/shortcuts";

const rowsOf = (page: Schemas["UsersAnswerBody"]) => page.users;
const types = ["person", "workload", "unresolved"] as const;

export function Component() {
  const { tenant } = useSpan();
  const [text] = useFilter("q");
  const [type] = useFilter("type");
  const params = useMemo(
    () => ({ query: { q: text || undefined, tenant, type: types.find(t => t === type) } }),
    [text, tenant, type],
  );
  const list = usePages("/v1/users", params, rowsOf);
  const frame = useRef<HTMLDivElement>(null);
  useKeys({ j: () => stepRow(frame, 1), k: () => stepRow(frame, -1) });
  return (
    <Page
      title="Users"
      lead="Everybody who was seen, whoever was last comes first. Whatever the time that is chosen above."
      actions={
        <Shortcuts
          keys={[
            ["j k", "next, previous user"],
            ["Enter", "open"],
          ]}
        />
      }
    >
      <Filters names={["q", "type"]}>
        <Typed name="q" label="Id or name starts with" placeholder="Ada" />
        <Choice
          name="type"
          label="Type"
          options={[
            ["person", "people"],
            ["workload", "programs"],
            ["unresolved", "names without an account"],
          ]}
        />
      </Filters>
      <Answered query={{ ...list, data: list.rows }} loading="Looking for users">
        {rows => (
          <div ref={frame}>
            <Table
              caption="Users, the newest first"
              rows={rows}
              rowKey={u => `${u.tenant}/${u.user}`}
              empty={
                <Empty>
                  {text || type
                    ? "Nobody is called so. The search looks at how ids and names start, in upper or lower case."
                    : "Nobody was seen yet. Send events, or run countersign up --demo, and they appear here."}
                </Empty>
              }
              columns={[
                {
                  name: "User",
                  cell: u => (
                    <span className="lead-link">
                      <UserLink tenant={u.tenant} user={u.user} name={u.name} />{" "}
                      {u.type && <Tag>{u.type === "workload" ? "program" : "no account"}</Tag>}
                    </span>
                  ),
                },
                { name: "Id", cell: u => <Text value={u.user} limit={80} className="soft" /> },
                { name: "Tenant", minor: true, cell: u => <Text value={u.tenant} limit={64} /> },
                { name: "Last seen", tight: true, cell: u => <Time value={u.last} /> },
                { name: "Events", numeric: true, cell: u => count(u.events) },
                {
                  name: "Findings",
                  numeric: true,
                  cell: u => (u.findings > 0 ? count(u.findings) : <span className="soft">–</span>),
                },
                {
                  name: "Open step-ups",
                  numeric: true,
                  cell: u =>
                    u.open > 0 ? <Status value="open">{count(u.open)} open</Status> : <span className="soft">–</span>,
                },
              ]}
            />
            <More query={list} what="Show more" />
          </div>
        )}
      </Answered>
    </Page>
  );
}
