import { useEffect, useRef, useState } from "react";
import { api, unwrap } from "../api/client";
import { useLive, useLiveState } from "../api/live";
import {
  Choices,
  Empty,
  ErrorNote,
  Filters,
  FindingLine,
  FindingLink,
  Loading,
  Page,
  Panel,
  pathOf,
  RequirementLine,
  Severity,
  Status,
  severities,
  Tag,
  Text,
  Time,
  To,
  Typed,
  UserLink,
  useFilter,
} from "../components";
import { count } from "../format/numbers";
import { useSpan } from "../shell/span";
import { added, type Entry, keepEntries, shows } from "./feed";
import "./live.css";

const kinds = ["finding", "requirement", "receipt", "mark"] as const;
const kindNames: Record<(typeof kinds)[number], string> = {
  finding: "findings",
  requirement: "step-ups",
  receipt: "receipts",
  mark: "marks",
};

const findingEntry = (record: Extract<Entry, { kind: "finding" }>["record"]): Entry => ({
  kind: "finding",
  key: `finding/${record.id}`,
  record,
});
const requirementEntry = (record: Extract<Entry, { kind: "requirement" }>["record"]): Entry => ({
  kind: "requirement",
  key: `requirement/${record.id}/${record.status}`,
  record,
});

const timeOf = (e: Entry) => (e.kind === "requirement" ? (e.record.closed ?? e.record.not_before) : e.record.time);

/** Everything as it happens. A pause holds what arrives; filters are in the address. */
export function Component() {
  const span = useSpan();
  const [entries, setEntries] = useState<Entry[]>();
  const [waiting, setWaiting] = useState<Entry[]>([]);
  const [paused, setPaused] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const state = useLiveState();

  const take = (entry: Entry) => {
    if (paused) setWaiting(before => added(before, entry));
    else setEntries(before => added(before ?? [], entry));
  };
  useLive("finding", record => take(findingEntry(record)));
  useLive("requirement", record => take(requirementEntry(record)));
  useLive("receipt", record => take({ kind: "receipt", key: `receipt/${record.id}`, record }));
  useLive("mark", record => take({ kind: "mark", key: `mark/${record.id}`, record }));
  useLive("reset", () => setAsked(n => n + 1));

  // What was before: so that the page is not empty, and whole again after the feed was away.
  const [asked, setAsked] = useState(0);
  useEffect(() => {
    void asked;
    const stop = new AbortController();
    const query = { ...parse(span.query()), limit: 50 };
    Promise.all([
      unwrap(api.GET("/v1/findings", { params: { query }, signal: stop.signal })),
      unwrap(api.GET("/v1/revocations", { params: { query }, signal: stop.signal })),
    ]).then(
      ([findings, requirements]) => {
        setProblem(undefined);
        const older = [...findings.findings.map(findingEntry), ...requirements.revocations.map(requirementEntry)];
        setEntries(now => {
          const have = new Set(now?.map(e => e.key));
          return [...(now ?? []), ...older.filter(e => !have.has(e.key))]
            .sort((a, b) => (timeOf(a) < timeOf(b) ? 1 : timeOf(a) > timeOf(b) ? -1 : 0))
            .slice(0, keepEntries);
        });
      },
      error => {
        if (stop.signal.aborted) return;
        setProblem(error);
        setEntries(now => now ?? []);
      },
    );
    return () => stop.abort();
  }, [asked, span]);
  useEffect(() => {
    if (!problem) return;
    const timer = setTimeout(() => setAsked(n => n + 1), 5000);
    return () => clearTimeout(timer);
  }, [problem]);

  const resume = () => {
    setEntries(before => waiting.reduceRight((list, entry) => added(list, entry), before ?? []));
    setWaiting([]);
    setPaused(false);
  };

  const [kind] = useFilter("kind");
  const [severity] = useFilter("severity");
  const [person] = useFilter("person");
  const filter = {
    kinds: kind ? kind.split(",") : [],
    severities: severity ? severity.split(",") : [],
    person,
    tenant: span.tenant,
  };
  const shown = entries?.filter(entry => shows(filter, entry));
  const held = waiting.filter(entry => shows(filter, entry)).length;

  // What has just come is marked for a moment, but not what was there when the page was opened.
  const known = useRef(new Set<string>());
  const fresh = new Set<string>();
  if (shown && known.current.size > 0) for (const e of shown) if (!known.current.has(e.key)) fresh.add(e.key);
  useEffect(() => {
    if (entries) known.current = new Set(entries.map(e => e.key));
  }, [entries]);

  return (
    <Page
      title="Live"
      lead="Findings, step-ups and what the apps did about them, as they happen."
      actions={
        <button
          type="button"
          aria-pressed={paused}
          className={paused ? "" : "quiet"}
          onClick={() => (paused ? resume() : setPaused(true))}
        >
          {paused ? `Go on${held > 0 ? `: ${count(held)} new` : ""}` : "Pause"}
        </button>
      }
    >
      <Filters names={["kind", "severity", "person"]}>
        <Choices name="kind" label="Show" options={kinds} render={k => kindNames[k as (typeof kinds)[number]]} />
        <Choices name="severity" label="Severity" options={severities} render={s => <Severity value={s} />} />
        <Typed name="person" label="Person" placeholder="part of a name or id" />
      </Filters>
      {problem !== undefined && <ErrorNote error={problem} retry={() => setAsked(n => n + 1)} />}
      <Panel
        title="Feed"
        note={
          <span role="status">
            {paused
              ? `paused, ${count(held)} new`
              : state === "live"
                ? "live"
                : state === "away"
                  ? "the feed is away and comes back by itself"
                  : state}
          </span>
        }
      >
        {shown === undefined ? (
          <Loading />
        ) : shown.length === 0 ? (
          <Empty>
            {entries && entries.length > 0
              ? "Nothing passes the filters. Clear them to see the rest."
              : "Nothing yet. What happens shows up here at once."}
          </Empty>
        ) : (
          <ol className="lines feed" aria-label="Newest first">
            {shown.map(entry => (
              <li key={entry.key} data-entry={entry.key} className={fresh.has(entry.key) ? "fresh" : undefined}>
                <Line of={entry} />
              </li>
            ))}
          </ol>
        )}
        {entries && entries.length >= keepEntries && (
          <p className="soft">The newest {count(keepEntries)} are kept here; the lists have the rest.</p>
        )}
      </Panel>
    </Page>
  );
}

const parse = ({ from, to, tenant }: { from: string; to: string; tenant?: string }) => ({
  from,
  to,
  ...(tenant && { tenant }),
});

function Line({ of }: { of: Entry }) {
  switch (of.kind) {
    case "finding":
      return <FindingLine of={of.record} />;
    case "requirement":
      return <RequirementLine of={of.record} />;
    case "receipt":
      return (
        <div className="line">
          <div className="line-head">
            <Time value={of.record.time} />
            <Status value={of.record.status} tone="good" />
            <UserLink tenant={of.record.tenant} user={of.record.user} />
            <Tag>
              <Text value={of.record.app} limit={60} />
            </Tag>
            <To path={pathOf("step-ups", of.record.requirement)} className="soft">
              the step-up
            </To>
          </div>
        </div>
      );
    case "mark":
      return (
        <div className="line">
          <div className="line-head">
            <Time value={of.record.time} />
            <Status value={of.record.verdict} />
            <UserLink tenant={of.record.tenant} user={of.record.user} />
            <FindingLink id={of.record.finding}>{of.record.detection}</FindingLink>
            <span className="soft">
              by <Text value={of.record.by} limit={60} />
            </span>
          </div>
          {of.record.comment && (
            <p className="line-text">
              <Text value={of.record.comment} />
            </p>
          )}
        </div>
      );
  }
}
