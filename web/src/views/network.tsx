import "./people.css";
import { useMemo } from "react";
import type { Schemas } from "../api/client";
import { useGet } from "../api/queries";
import {
  Answered,
  AppLink,
  Code,
  Empty,
  Facts,
  Filters,
  Page,
  Panel,
  Table,
  Tag,
  Text,
  Time,
  To,
  Typed,
  UserLink,
  useFilter,
} from "../components";
import { count, percent } from "../format/numbers";
import { country } from "../format/places";
import { useSpan } from "../shell/span";
import { FindingLines } from "./parts/lists";

export function Component() {
  const span = useSpan();
  const [ip] = useFilter("ip");
  const [prefix] = useFilter("prefix");
  const asked = ip !== "" || prefix !== "";
  const params = useMemo(() => ({ query: ip ? { ip } : { prefix } }), [ip, prefix]);
  const query = useGet("/v1/networks", params, { span, enabled: asked });
  return (
    <Page title="Network" lead="Who came from an address, or from the /24 or /48 around it.">
      <Filters names={["ip", "prefix"]}>
        <Typed name="ip" label="Address" placeholder="192.0.2.17" />
        {!ip && <Typed name="prefix" label="or its prefix" placeholder="192.0.2.0/24" />}
      </Filters>
      {asked ? (
        <Answered query={query} loading="Looking the network up">
          {network => <Shown network={network} />}
        </Answered>
      ) : (
        <Empty>Write an address, or follow one from a finding or an event.</Empty>
      )}
    </Page>
  );
}

function Shown({ network: n }: { network: Schemas["NetworkProfile"] }) {
  return (
    <>
      <Panel title={n.ip ? "The address" : "The network"} note={<Code value={n.ip || n.prefix} />}>
        {n.events === 0 ? (
          <Empty>Nobody came from there in this time. A longer time, above, may show somebody.</Empty>
        ) : (
          <Facts
            of={[
              [
                "Prefix",
                n.prefix &&
                  (n.ip ? (
                    <To path="/networks" query={{ prefix: n.prefix }}>
                      <Code value={n.prefix} />
                    </To>
                  ) : (
                    <Code value={n.prefix} />
                  )),
              ],
              [
                "Network",
                <Text key="n" value={[n.asn ? `AS${n.asn}` : "", n.org ?? ""].join(" ").trim() || "unknown"} limit={120} />,
              ],
              ["Kind", n.classes?.length ? n.classes.map(c => <Tag key={c}>{c}</Tag>) : ""],
              ["Country", n.country && country(n.country)],
              ["First seen", <Time key="f" value={n.first} style="full" />],
              ["Last seen", <Time key="l" value={n.last} style="full" />],
              ["Events", count(n.events)],
              ["Failed", `${count(n.failures)} (${percent(n.events > 0 ? n.failures / n.events : 0)})`],
              ["Users", count(n.user_count)],
            ]}
          />
        )}
      </Panel>
      <Panel
        title="Who"
        note={n.user_count > n.users.length ? `${n.users.length} of ${count(n.user_count)}, those with most events` : undefined}
      >
        <Table
          caption="Users of the network, those with most events first"
          rows={n.users}
          rowKey={u => `${u.tenant}/${u.user}`}
          empty={<Empty>Nobody.</Empty>}
          columns={[
            { name: "User", cell: u => <UserLink tenant={u.tenant} user={u.user} name={u.name} /> },
            { name: "Id", minor: true, cell: u => <Text value={u.user} limit={80} className="soft" /> },
            { name: "Events", numeric: true, cell: u => count(u.events) },
            {
              name: "Failed",
              numeric: true,
              cell: u => (u.failures > 0 ? count(u.failures) : <span className="soft">–</span>),
            },
            { name: "First", tight: true, minor: true, cell: u => <Time value={u.first} /> },
            { name: "Last", tight: true, cell: u => <Time value={u.last} /> },
          ]}
        />
      </Panel>
      <Panel title="For which apps">
        <Table
          caption="Apps that were used from the network"
          rows={n.apps}
          rowKey={a => `${a.tenant}/${a.app}`}
          empty={<Empty>No event named an app.</Empty>}
          columns={[
            { name: "App", cell: a => <AppLink tenant={a.tenant} app={a.app} name={a.name} /> },
            { name: "Users", numeric: true, cell: a => count(a.users) },
            { name: "Last", tight: true, cell: a => <Time value={a.last} /> },
          ]}
        />
      </Panel>
      <Panel title="Findings" note={n.findings.length > 0 ? String(n.findings.length) : undefined}>
        <FindingLines of={n.findings} empty="None from there in this time." withUser />
      </Panel>
    </>
  );
}
