import "./people.css";
import { useGet } from "../api/queries";
import { Answered, AppLink, Empty, Page, Table, Text, Time } from "../components";
import { count, duration, percent } from "../format/numbers";
import { useSpan } from "../shell/span";

export function Component() {
  const span = useSpan();
  const query = useGet("/v1/apps", {}, { span, live: { receipt: true } });
  return (
    <Page title="Apps" lead="What people sign in to, and how fast each app acts on a demand for a second proof.">
      <Answered query={query} loading="Looking for apps">
        {({ apps }) => (
          <Table
            caption="Apps, those with most events first"
            rows={apps}
            rowKey={a => `${a.tenant}/${a.app}`}
            empty={<Empty>No event named an app in this time. Look at a longer time.</Empty>}
            columns={[
              { name: "App", cell: a => <AppLink tenant={a.tenant} app={a.app} name={a.name} /> },
              { name: "Tenant", minor: true, cell: a => <Text value={a.tenant} limit={64} /> },
              { name: "Users", numeric: true, cell: a => count(a.users) },
              { name: "Events", numeric: true, cell: a => count(a.events) },
              { name: "Failed", numeric: true, cell: a => (a.events > 0 ? percent(a.failures / a.events) : "–") },
              {
                name: "Step-ups",
                numeric: true,
                cell: a =>
                  a.requirements > 0 ? (
                    `${count(a.enforced)} of ${count(a.requirements)} enforced`
                  ) : (
                    <span className="soft">–</span>
                  ),
              },
              {
                name: "Within",
                numeric: true,
                cell: a =>
                  a.enforced_p95_ms !== undefined ? `${duration(a.enforced_p95_ms)} (95 %)` : <span className="soft">–</span>,
              },
              { name: "Last", tight: true, minor: true, cell: a => <Time value={a.last} /> },
            ]}
          />
        )}
      </Answered>
    </Page>
  );
}
