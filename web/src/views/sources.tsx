import type { Schemas } from "../api/client";
import { useGet } from "../api/queries";
import { Ranked } from "../charts";
import { Answered, Code, Empty, Facts, Page, Panel, Status, Table, Text, Time } from "../components";
import { compact, count, duration } from "../format/numbers";
import { Refused, SourceState } from "./parts/source-health";

type Source = Schemas["SourceHealth"];
type Pipeline = Schemas["PipelineAnswerBody"];

/** Component is where sign-ins come from, how they come, and how far the pipeline is with them. */
export function Component() {
  const sources = useGet("/v1/sources", {}, { every: 10_000 });
  return (
    <Page
      title="Sources"
      lead="Where events come from, how long they take to arrive, and how far each part of the pipeline is with them."
    >
      <Panel title="Sources" note="that sent something in the last 30 days">
        <Answered query={sources}>{({ sources: rows }) => <Sources of={rows} />}</Answered>
      </Panel>
      <State />
    </Page>
  );
}

function Sources({ of: sources }: { of: Source[] }) {
  return (
    <Table
      caption="Sources by name"
      columns={[
        {
          name: "Source",
          cell: s => (
            <>
              <b>{s.source ? <Text value={s.source} limit={80} /> : "no name"}</b>{" "}
              {s.family && (
                <span className="soft">
                  <Text value={s.family} limit={60} />
                </span>
              )}
            </>
          ),
        },
        {
          name: "State",
          tight: true,
          cell: s => <SourceState of={s} />,
        },
        { name: "Newest event", tight: true, cell: s => <Time value={s.newest} /> },
        { name: "Last accepted", tight: true, cell: s => <Time value={s.accepted} style="ago" /> },
        { name: "Last hour", numeric: true, cell: s => count(s.events_1h) },
        { name: "Rate", numeric: true, minor: true, cell: s => rate(s.events_1h) },
        { name: "Delay", numeric: true, cell: s => delay(s.delay_p50_ms) },
        { name: "Delay of the slowest 5 %", numeric: true, cell: s => delay(s.delay_p95_ms) },
        {
          name: "Refused in a day",
          numeric: true,
          cell: s => <Refused of={s} format={count} />,
        },
      ]}
      rows={sources}
      rowKey={s => `${s.source}/${s.family}`}
      empty={
        <Empty>
          Nothing has been sent yet. Connect a source (docs/sources.md has the steps for each), or <code>POST /v1/events</code>{" "}
          to ingest.
        </Empty>
      }
    />
  );
}

/** rate is events of an hour by the second or the minute, whichever is easier to read. */
export function rate(hourly: number): string {
  if (hourly >= 3600) return `${compact(hourly / 3600)}/s`;
  return hourly >= 60 ? `${compact(hourly / 60)}/min` : "–";
}

const delay = (ms: number | undefined) => (ms === undefined ? <span className="soft">–</span> : duration(ms));

/** State is the pipeline behind the sources. */
function State() {
  const pipeline = useGet("/v1/pipeline", {}, { every: 5_000 });
  return (
    <Answered query={pipeline}>
      {p => (
        <>
          <Panel
            title="Pipeline"
            note={
              <>
                looked at <Time value={p.at} style="ago" />
              </>
            }
          >
            <Facts
              of={[
                [
                  "The log (Kafka)",
                  <Status key="log" value={p.log}>
                    {p.log === "ok" ? "answers" : "away"}
                  </Status>,
                ],
                [
                  "The history",
                  <Status key="history" value={p.history}>
                    {p.history === "ok" ? "answers" : "away"}
                  </Status>,
                ],
                ["Newest event", <Time key="newest" value={p.newest_event} style="ago" />],
              ]}
            />
            {p.log === "away" && (
              <p className="notice">
                The log does not answer: nothing new is decided on until it does. What follows is as it was; docs/operations.md.
              </p>
            )}
            {p.history === "away" && (
              <p className="notice">
                The history does not answer: decisions go on, and what is on the log is archived when it is back.
              </p>
            )}
          </Panel>
          <div className="grid">
            <Groups of={p} />
            <Topics of={p} />
          </div>
        </>
      )}
    </Answered>
  );
}

function Groups({ of: p }: { of: Pipeline }) {
  const groups = [...(p.groups ?? [])].sort((a, b) => b.lag - a.lag);
  return (
    <Panel title="Who reads, and how far behind" note="records of the topic that the group has still to take">
      <Ranked
        empty="No group has read anything yet."
        of={groups.map(g => ({
          key: `${g.group}/${g.topic}`,
          label: <Code value={g.group} limit={80} />,
          value: g.lag,
          tone: "warn",
          note: <Text value={g.topic.replace(/^countersign\./, "")} limit={60} />,
        }))}
      />
    </Panel>
  );
}

function Topics({ of: p }: { of: Pipeline }) {
  const topics = [...(p.topics ?? [])].sort((a, b) => b.records - a.records);
  return (
    <Panel title="What the log holds" note="offsets that are kept">
      <Ranked
        empty="The log has no topics yet."
        of={topics.map(t => ({
          key: t.topic,
          label: <Code value={t.topic} limit={80} />,
          value: t.records,
          note: `${count(t.partitions)} ${t.partitions === 1 ? "partition" : "partitions"},`,
        }))}
      />
    </Panel>
  );
}
