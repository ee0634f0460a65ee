import type { Schemas } from "../api/client";
import { useGet } from "../api/queries";
import { Answered, Empty, Page, Panel, Status, Table, Text, Time, To, UserLink } from "../components";
import { count } from "../format/numbers";
import { useMay } from "../shell/me";
import { useSpan } from "../shell/span";

type Erasure = Schemas["Erasure"];

/** Component is who was erased, and how far that is. */
export function Component() {
  const span = useSpan();
  const mayAudit = useMay("audit");
  const erasures = useGet("/v1/erasures", { query: { tenant: span.tenant } }, { every: 10_000 });
  return (
    <Page
      title="Erasures"
      lead="People whose data was erased on request. The detector forgets them at once; the history deletes their rows, and takes none of before that time again."
    >
      <Panel title="People" note="by their ids, which alone are kept">
        <Answered query={erasures}>
          {({ erasures: rows }) => (
            <Table<Erasure>
              caption="Erasures, newest first"
              columns={[
                { name: "Asked for", tight: true, cell: e => <Time value={e.logged} /> },
                { name: "Person", cell: e => <UserLink tenant={e.tenant} user={e.user} /> },
                { name: "Tenant", cell: e => <Text value={e.tenant} limit={64} /> },
                { name: "What was before", tight: true, cell: e => <Time value={e.before} /> },
                {
                  name: "State",
                  tight: true,
                  cell: e =>
                    e.remaining > 0 ? (
                      <Status value="running">{count(e.remaining)} rows left</Status>
                    ) : (
                      <Status value="done">erased</Status>
                    ),
                },
                ...(mayAudit
                  ? [
                      {
                        name: "Who and why",
                        tight: true,
                        cell: (e: Erasure) => (
                          <To
                            path="/audit"
                            query={{ user: e.user, action: "erase" }}
                            label={`audit: who erased ${e.user}, and why`}
                          >
                            audit
                          </To>
                        ),
                      },
                    ]
                  : []),
              ]}
              rows={rows}
              rowKey={e => `${e.tenant}/${e.user}/${e.logged}`}
              empty={
                <Empty>
                  Nobody was erased. A person's page has the button, or <code>countersign erase</code> does it: docs/privacy.md.
                </Empty>
              }
            />
          )}
        </Answered>
      </Panel>
    </Page>
  );
}
