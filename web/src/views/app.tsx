import "./people.css";
import { useParams } from "react-router";
import type { Schemas } from "../api/client";
import { useGet } from "../api/queries";
import { Ranked, TimeBars } from "../charts";
import { Answered, Code, Empty, Facts, Page, Panel, Text, Time, To } from "../components";
import { count, duration, percent } from "../format/numbers";
import { useSpan } from "../shell/span";
import { FindingLines } from "./parts/lists";
import { useZoom } from "./user/zoom";

export function Component() {
  const { tenant = "", app = "" } = useParams();
  return <App key={`${tenant}/${app}`} tenant={tenant} app={app} />;
}

function App({ tenant, app }: { tenant: string; app: string }) {
  const span = useSpan();
  const query = useGet("/v1/apps/{tenant}/{app}", { path: { tenant, app } }, { span, live: { receipt: true, finding: true } });
  return (
    <Page
      title={query.data?.name || app}
      lead={
        <>
          <Code value={app} limit={256} /> of <Text value={tenant} limit={64} />
        </>
      }
    >
      <Answered query={query} loading="Looking the app up">
        {a => <Shown app={a} />}
      </Answered>
    </Page>
  );
}

function Shown({ app: a }: { app: Schemas["AppProfile"] }) {
  const { set } = useZoom();
  return (
    <>
      <div className="grid">
        <Panel title="In this time">
          <Facts
            of={[
              ["Users", count(a.users)],
              ["Events", count(a.events)],
              ["Failed", a.events > 0 && `${count(a.failures)} (${percent(a.failures / a.events)})`],
              ["Last", <Time key="l" value={a.last} style="full" />],
              [
                "Findings",
                <To key="f" path="/findings" query={{ tenant: a.tenant, app: a.app }}>
                  all of this app
                </To>,
              ],
            ]}
          />
        </Panel>
        <Panel title="Does it enforce?">
          {a.requirements === 0 ? (
            <Empty>
              It has sent no receipt in this time: either nothing was asked of its users, or it does not receive. An app tells
              by the SDK or by Shared Signals what it did.
            </Empty>
          ) : (
            <Facts
              of={[
                ["Acted on", `${count(a.enforced)} of ${count(a.requirements)} step-ups it told of`],
                ["Half within", a.enforced_p50_ms !== undefined && duration(a.enforced_p50_ms)],
                ["95 % within", a.enforced_p95_ms !== undefined && duration(a.enforced_p95_ms)],
              ]}
            />
          )}
        </Panel>
      </div>
      <Panel title="Events over time">
        <TimeBars
          caption="Events and failures of the app"
          times={a.series.map(p => p.time)}
          stepSeconds={a.step_seconds}
          bands={[
            {
              name: "Events",
              height: 110,
              series: [
                { name: "succeeded", tone: "events", values: a.series.map(p => p.events - p.failures) },
                { name: "failed", tone: "failures", values: a.series.map(p => p.failures) },
              ],
            },
          ]}
          onPick={(from, to) => set({ from: Date.parse(from), to: Date.parse(to) })}
        />
      </Panel>
      {a.receipts.length > 0 && (
        <Panel title="What it did with step-ups">
          <Ranked of={a.receipts.map(r => ({ key: r.name, label: r.name, value: r.count }))} empty="" />
        </Panel>
      )}
      <Panel title="Findings" note={a.findings.length > 0 ? String(a.findings.length) : undefined}>
        <FindingLines of={a.findings} empty="None in events of this app in this time." withUser />
      </Panel>
    </>
  );
}
