import { useParams } from "react-router";
import { api, type Schemas, unwrap } from "../api/client";
import { useGet, useRefresh } from "../api/queries";
import { TimeBars } from "../charts";
import {
  Act,
  Answered,
  Empty,
  ErrorNote,
  Facts,
  Page,
  Panel,
  Status,
  Table,
  Tag,
  Text,
  Time,
  To,
  UserLink,
  useGo,
} from "../components";
import { count, percent } from "../format/numbers";
import { policyDraft, tried } from "../shell/drafts";
import { actions } from "./policies";
import "./policies.css";

type Report = Schemas["BacktestReport"];
type Counts = Schemas["BacktestCounts"];

/** interrupts is how often people are asked for a proof or lose a session. */
export const interrupts = (c: Counts) => c.step_up + c.revoke_session + c.revoke_all;

/** under tells whether a backtest is still under way; what came of one does not change, and reading it is audited. */
export const under = (state: Schemas["Backtest"]["state"] | undefined) => state === "queued" || state === "running";

/** Component is one backtest: how far it is, and what the policies that were tried would have decided beside what was. */
export function Component() {
  const { id = "" } = useParams();
  const job = useGet("/v1/backtests/{id}", { path: { id } }, { every: b => (under(b?.state) ? 1_000 : false) });
  const refresh = useRefresh();
  const go = useGo();
  return (
    <Page title="Backtest" lead={<To path="/policies">All policies and backtests</To>}>
      <Answered query={job}>
        {b => (
          <>
            <Panel title="What was tried">
              <Facts
                of={[
                  ["State", <Status key="state" value={b.state} />],
                  [
                    "Of",
                    <span key="of">
                      <Time value={b.from} /> to <Time value={b.to} />
                    </span>,
                  ],
                  ["Tenant", b.tenant && <Text value={b.tenant} />],
                  ["Beside", b.baseline === "recorded" ? "what was decided" : "the policies in force"],
                  ["People known for", `${b.warm_up_days} days before`],
                  ["Asked for by", <Text key="by" value={b.by} />],
                  ["Why it failed", b.error && <Text value={b.error} limit={1000} />],
                ]}
              />
              {under(b.state) && (
                <div>
                  <progress value={b.progress} max={1} aria-label="How far the backtest is" /> {percent(b.progress)}{" "}
                  <Act
                    run={async () => {
                      await unwrap(api.DELETE("/v1/backtests/{id}", { params: { path: { id } } }));
                      await refresh("/v1/backtests", "/v1/backtests/{id}");
                      return "cancelled";
                    }}
                  >
                    Cancel
                  </Act>
                </div>
              )}
            </Panel>
            {b.state === "failed" && <ErrorNote error={new Error(b.error)} retry={() => go("/policies")} />}
            <Tried id={id} />
            {b.result && <Result of={b.result} />}
          </>
        )}
      </Answered>
    </Page>
  );
}

/** Tried is the text of the policies that were tried, where this tab has it, and the way back to it. */
function Tried({ id }: { id: string }) {
  const go = useGo();
  const text = tried(id);
  if (text === undefined) return null;
  return (
    <Panel
      title="The policies that were tried"
      actions={
        <button
          type="button"
          className="quiet"
          onClick={() => {
            policyDraft.set(text);
            go("/policies");
          }}
        >
          Edit this again
        </button>
      }
    >
      <details>
        <summary>The text</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
        <pre className="condition" tabIndex={0}>
          {text}
        </pre>
      </details>
    </Panel>
  );
}

function Result({ of: r }: { of: Report }) {
  const asked = { now: interrupts(r.total.new), was: interrupts(r.total.old) };
  const same = r.only_new.count + r.only_old.count + r.changed.count === 0;
  return (
    <>
      <Panel
        title="Side by side"
        note={`${count(r.events)} events of ${count(r.users)} people${r.problems.count ? `, ${count(r.problems.count)} unreadable` : ""}`}
      >
        <p>{verdict(asked.was, asked.now, same)}</p>
        <div className="versus">
          <Versus name="interruptions" was={asked.was} now={asked.now} />
          <Versus name="asked for a proof" was={r.total.old.step_up} now={r.total.new.step_up} />
          <Versus name="sessions ended" was={r.total.old.revoke_session} now={r.total.new.revoke_session} />
          <Versus name="all sessions ended" was={r.total.old.revoke_all} now={r.total.new.revoke_all} />
          <Versus name="people told" was={r.total.old.notify} now={r.total.new.notify} />
          <Versus name="only watched" was={r.total.old.watched} now={r.total.new.watched} />
          <Versus name="held by the breaker" was={r.total.old.held} now={r.total.new.held} />
          <Versus
            name="people asked at all"
            was={r.step_ups_per_user_week.old.users_asked}
            now={r.step_ups_per_user_week.new.users_asked}
          />
        </div>
        {!!r.new.breaker_trips?.length && (
          <p className="error-note" role="alert">
            <strong>The breaker would trip:</strong> <Text value={r.new.breaker_trips[0]?.reason} /> at{" "}
            <Time value={r.new.breaker_trips[0]?.time} />
          </p>
        )}
        {!!r.new.policy_problems?.length && (
          <p className="error-note" role="alert">
            <strong>A policy could not be evaluated:</strong> <Text value={r.new.policy_problems[0]?.problem} limit={600} />
          </p>
        )}
      </Panel>
      <Panel title="By day">
        <TimeBars
          caption="Interruptions by day, as tried and as it was"
          times={(r.days ?? []).map(d => d.day)}
          stepSeconds={86_400}
          bands={[
            {
              name: "tried",
              height: 70,
              series: [{ name: "interruptions as tried", tone: "high", values: (r.days ?? []).map(d => interrupts(d.new)) }],
            },
            {
              name: "as it was",
              height: 70,
              series: [{ name: "interruptions as it was", tone: "events", values: (r.days ?? []).map(d => interrupts(d.old)) }],
            },
          ]}
        />
      </Panel>
      <div className="grid">
        <Panel title="By policy">
          <Table
            caption="Interruptions by policy"
            columns={[
              { name: "Policy", cell: p => <Text value={p.policy} limit={80} /> },
              ...versusColumns<Schemas["BacktestPolicyLine"]>(),
            ]}
            rows={(r.policies ?? []).filter(p => interrupts(p.new) + interrupts(p.old) > 0)}
            rowKey={p => p.policy}
            empty={<Empty>No policy interrupts anybody on either side.</Empty>}
          />
        </Panel>
        <Panel title="By person" note="the greatest changes">
          <Table
            caption="Interruptions by person"
            columns={[
              { name: "Person", cell: u => <UserLink tenant={u.tenant} user={u.user} name={u.name} /> },
              ...versusColumns<Schemas["BacktestUserLine"]>(),
            ]}
            rows={r.by_user ?? []}
            rowKey={u => `${u.tenant}/${u.user}`}
            empty={<Empty>Nobody would be treated differently.</Empty>}
          />
        </Panel>
      </div>
      <Differences title="Only as tried" note="what would happen now and did not" of={r.only_new} />
      <Differences title="Only as it was" note="what happened and would not any more" of={r.only_old} />
      <Differences title="Changed" note="something happens on both sides, but not the same" of={r.changed} />
    </>
  );
}

/** verdict says in a sentence what the change amounts to. */
export function verdict(was: number, now: number, same: boolean): string {
  if (same) return "Every decision would have been the same.";
  if (was === now)
    return `People would be interrupted as often, ${count(now)} times, but not the same people or not for the same.`;
  const by = was > 0 ? ` (${now > was ? "+" : "−"}${percent(Math.abs(now - was) / was)})` : "";
  return `People would be interrupted ${count(now)} times in place of ${count(was)}${by}.`;
}

function Delta({ was, now }: { was: number; now: number }) {
  if (was === now) return <span className="soft">same</span>;
  return (
    <span className={now > was ? "delta-more" : "delta-less"}>
      {now > was ? "+" : "−"}
      {count(Math.abs(now - was))}
    </span>
  );
}

function Versus({ name, was, now }: { name: string; was: number; now: number }) {
  return (
    <div>
      <span className="soft">{name}</span>
      <b>{count(now)}</b>
      <span>
        <span className="was">was {count(was)}</span> <Delta was={was} now={now} />
      </span>
    </div>
  );
}

function versusColumns<Row extends { new: Counts; old: Counts }>() {
  return [
    { name: "Tried", numeric: true, cell: (row: Row) => count(interrupts(row.new)) },
    { name: "Was", numeric: true, cell: (row: Row) => count(interrupts(row.old)) },
    { name: "Change", numeric: true, cell: (row: Row) => <Delta was={interrupts(row.old)} now={interrupts(row.new)} /> },
  ];
}

function Judgement({ of: j }: { of: Schemas["BacktestJudgement"] | undefined }) {
  if (!j) return <span className="soft">nothing</span>;
  return (
    <>
      <Tag>{actions[j.action ?? ""] ?? j.action}</Tag> <Text value={j.policy} limit={60} />{" "}
      <span className="soft">
        <Text value={j.summary || j.detections} limit={160} />
      </span>
    </>
  );
}

function Differences({ title, note, of }: { title: string; note: string; of: Schemas["BacktestDifferences"] }) {
  if (of.count === 0) return null;
  const first = of.first ?? [];
  return (
    <Panel
      title={title}
      note={`${note} · ${count(of.count)}${of.count > first.length ? `, of which the first ${count(first.length)}` : ""}`}
    >
      <Table
        caption={title}
        columns={[
          { name: "When", tight: true, cell: d => <Time value={d.time} /> },
          { name: "Person", cell: d => <UserLink tenant={d.tenant} user={d.user} name={d.name} /> },
          { name: "Tried", cell: d => <Judgement of={d.new} /> },
          { name: "Was", cell: d => <Judgement of={d.old} /> },
        ]}
        rows={first}
        rowKey={d => d.event_id}
      />
    </Panel>
  );
}
