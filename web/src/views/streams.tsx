import { api, type Schemas, unwrap } from "../api/client";
import { useGet, useRefresh } from "../api/queries";
import { Act, Answered, Code, Empty, Facts, Page, Panel, Status, Table, Text, Time } from "../components";
import { count } from "../format/numbers";
import { useSpan } from "../shell/span";

type Stream = Schemas["Stream"];
type Verb = "verify" | "pause" | "enable" | "disable" | "replay";

/** Component is the Shared Signals streams: who is told, how far, and what to do when one stands still. */
export function Component() {
  const span = useSpan();
  const streams = useGet("/v1/streams", { query: { tenant: span.tenant } }, { every: 5_000 });
  return (
    <Page
      title="Streams"
      lead="Receivers of Shared Signals: apps and providers that are told of decisions by push or poll. Every decision is delivered at least once, in order for each subject."
    >
      <Answered query={streams}>
        {({ streams: rows }) =>
          rows?.length ? (
            <>
              <Panel title="All streams">
                <Table
                  caption="Streams with what waits"
                  columns={[
                    { name: "Receiver", cell: s => <Text value={s.receiver} limit={80} /> },
                    { name: "Tenant", cell: s => <Text value={s.tenant} limit={64} /> },
                    { name: "State", tight: true, cell: s => <State of={s} /> },
                    { name: "Waiting", numeric: true, cell: s => (s.unknown ? "–" : count(s.pending)) },
                    { name: "Behind", numeric: true, cell: s => (s.unknown ? "–" : count(s.lag)) },
                    { name: "Last taken", tight: true, cell: s => <Time value={s.last_success} style="ago" /> },
                    { name: "By", minor: true, cell: s => `${s.method}, ${s.dialect}` },
                  ]}
                  rows={rows}
                  rowKey={s => s.stream_id}
                />
              </Panel>
              {rows.map(s => (
                <One key={s.stream_id} stream={s} />
              ))}
            </>
          ) : (
            <Empty>
              No app has a stream yet. An app makes one at the courier with its OAuth client, or you make one for it with{" "}
              <code>countersign streams create</code>: see docs/shared-signals.md.
            </Empty>
          )
        }
      </Answered>
    </Page>
  );
}

function State({ of: s }: { of: Stream }) {
  if (s.unknown) return <Status value="away">its courier does not answer</Status>;
  if (s.failing_since) return <Status value="failed">{s.status}, failing</Status>;
  return <Status value={s.status} />;
}

/** One is a stream with its verbs. */
function One({ stream: s }: { stream: Stream }) {
  const refresh = useRefresh();
  const does = (verb: Verb, body?: Schemas["StreamVerb"]) => async () => {
    const done = await unwrap(api.POST("/v1/streams/{id}/{verb}", { params: { path: { id: s.stream_id, verb } }, body }));
    await refresh("/v1/streams");
    return done?.result || "done";
  };
  const hourAgo = () => ({ since: new Date(Date.now() - 3600_000).toISOString() });
  const name = `the stream of ${s.receiver}`;
  return (
    <Panel title={s.receiver} note={<Code value={s.stream_id} limit={40} />}>
      <Facts
        of={[
          ["State", <State key="state" of={s} />],
          ["Why", s.reason && <Text value={s.reason} />],
          ["Endpoint", s.endpoint_url && <Code value={s.endpoint_url} />],
          ["Subjects", s.subjects > 0 ? count(s.subjects) : "everybody of the tenant"],
          ["Events", s.events_requested?.map(uri => uri.split("/").pop()).join(", ")],
          ["Made", <Time key="made" value={s.created} />],
          ["Failing since", s.failing_since && <Time value={s.failing_since} />],
          ["The receiver said", s.last_error && <Text value={s.last_error} />],
          ["Held by", <Code key="held" value={s.held_by} />],
        ]}
      />
      <div className="actions">
        <Act label={`Verify ${name}`} run={does("verify")}>
          Verify
        </Act>
        {s.status === "enabled" ? (
          <Act label={`Pause ${name}`} run={does("pause", { reason: "paused by an operator" })}>
            Pause
          </Act>
        ) : (
          <Act label={`Go on with ${name}`} run={does("enable")}>
            Go on
          </Act>
        )}
        <Act label={`Replay the last hour of ${name}`} sure="Send the last hour again" run={() => does("replay", hourAgo())()}>
          Replay
        </Act>
        {s.status !== "disabled" && (
          <Act
            danger
            label={`Disable ${name}`}
            sure="Transmit nothing any more"
            run={does("disable", { reason: "disabled by an operator" })}
          >
            Disable
          </Act>
        )}
      </div>
    </Panel>
  );
}
