import { useEffect, useRef, useState } from "react";
import { useLocation } from "react-router";
import { api, type Schemas, unwrap } from "../api/client";
import { useGet, useRefresh } from "../api/queries";
import { Answered, Code, Empty, ErrorNote, Facts, Page, Panel, Status, Table, Tag, Text, Time, To, useGo } from "../components";
import { count, duration } from "../format/numbers";
import { keepTried, policyDraft } from "../shell/drafts";
import { useMay } from "../shell/me";
import { useSpan } from "../shell/span";
import "./policies.css";

type Policy = Schemas["Policy"];
type Problem = Schemas["PolicyProblem"];

/** words of what a policy asks for. */
export const actions: Record<string, string> = {
  observe: "watch",
  notify: "tell people",
  step_up: "ask for a proof",
  revoke_session: "end the session",
  revoke_all: "end every session",
};

/** Component is the policies in force with what they have done, and the place to try others on what has happened. */
export function Component() {
  const span = useSpan();
  const may = useMay("backtest");
  const policies = useGet("/v1/policies", {}, { span, every: 30_000 });
  return (
    <Page
      title="Policies"
      lead="What follows from findings: whom to ask for a second proof, whose session to end. Try a change on what has really happened before it bites."
    >
      <Answered query={policies}>
        {set => (
          <>
            {set.problem && (
              <div className="error-note" role="alert">
                <strong>The policy file as it is now cannot be loaded;</strong> the policies before it stay in force.{" "}
                <Text value={set.problem} />
              </div>
            )}
            <Panel
              title="In force"
              note={
                <>
                  {set.source === "shipped" ? "those that ship with countersign" : <Code value={set.source} />} · version{" "}
                  <Code value={set.version} limit={12} /> · read <Time value={set.loaded} style="ago" />
                </>
              }
            >
              {set.history === "away" && (
                <p className="notice">The history is away: what the policies have done is not known now.</p>
              )}
              <InForce policies={set.policies ?? []} away={set.history === "away"} />
            </Panel>
            {!!set.former?.length && (
              <Panel title="Not in force any more" note="what they did in this time">
                <Table
                  caption="Policies that are not in force any more"
                  columns={[
                    { name: "Policy", cell: p => <Text value={p.name} limit={80} /> },
                    ...record<Schemas["FormerPolicy"]>(p => p.record),
                  ]}
                  rows={set.former}
                  rowKey={p => p.name}
                />
              </Panel>
            )}
            {(set.policies ?? []).map(p => (
              <One key={p.name} policy={p} />
            ))}
            {may ? (
              <Try yaml={set.yaml ?? ""} />
            ) : (
              <p className="soft">To try a change on what has happened takes the role analyst, which you do not have.</p>
            )}
          </>
        )}
      </Answered>
      {may && <Backtests />}
    </Page>
  );
}

/** record is the columns of what a policy has done. */
function record<Row>(of: (row: Row) => Schemas["PolicyRecord"]) {
  const number = (name: string, pick: (r: Schemas["PolicyRecord"]) => number, minor = false) => ({
    name,
    numeric: true,
    minor,
    cell: (row: Row) => {
      const n = pick(of(row));
      return n > 0 ? count(n) : <span className="soft">0</span>;
    },
  });
  return [
    number("Matched", r => r.matched),
    number("Only watched", r => r.observed, true),
    number("Asked", r => r.opened),
    number("Proved", r => r.satisfied),
    number("Expired", r => r.expired),
    number("People", r => r.users, true),
    number("Right", r => r.true_positive, true),
    number("Wrong", r => r.false_positive, true),
  ];
}

function InForce({ policies, away }: { policies: Policy[]; away: boolean }) {
  return (
    <Table
      caption="Policies in force, in the order in which they are evaluated"
      columns={[
        {
          name: "Policy",
          cell: p => (
            <To path="/policies" hash={anchor(p.name)}>
              {p.name}
            </To>
          ),
        },
        { name: "Does", tight: true, cell: p => actions[p.action] ?? p.action },
        {
          name: "Mode",
          tight: true,
          cell: p => <Status value={p.mode} />,
        },
        ...(away ? [] : record<Policy>(p => p.record)),
      ]}
      rows={policies}
      rowKey={p => p.name}
      empty={<Empty>There is no policy: everything is seen and nothing follows from it.</Empty>}
    />
  );
}

/** anchor is the part of the page that is about a policy. */
const anchor = (name: string) => `policy-${name}`;

function selector(s: Schemas["PolicySelector"] | undefined) {
  const parts = [
    s?.users?.length && `users ${s.users.join(", ")}`,
    s?.groups?.length && `groups ${s.groups.join(", ")}`,
    s?.tenants?.length && `tenants ${s.tenants.join(", ")}`,
    s?.apps?.length && `apps ${s.apps.join(", ")}`,
    s?.withheld && "more, of tenants that you may not see",
  ].filter(Boolean);
  return parts.length ? parts.join("; ") : "";
}

/** One is a policy in full. A link to it opens it. */
function One({ policy: p }: { policy: Policy }) {
  const location = useLocation();
  const box = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    if (!box.current || location.hash !== `#${anchor(p.name)}`) return;
    box.current.open = true;
    box.current.scrollIntoView();
    box.current.querySelector("summary")?.focus({ preventScroll: true });
  }, [location, p.name]);
  return (
    <details className="panel policy" id={anchor(p.name)} ref={box}>
      <summary>
        <h2>{p.name}</h2> <Tag>{actions[p.action] ?? p.action}</Tag> <Text value={p.description} limit={200} className="soft" />
      </summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre className="condition" tabIndex={0}>
        <Text value={p.condition} limit={4000} />
      </pre>
      <Facts
        of={[
          ["Whom", selector(p.for) || "everybody"],
          ["Not whom", selector(p.except)],
          ["Proof wanted", p.acr_values?.length && <Text value={p.acr_values.join(" or ")} />],
          ["Not older than", p.max_age_seconds && duration(p.max_age_seconds * 1000)],
          ["Binds", p.scope],
          ["Stays open", p.ttl_seconds && duration(p.ttl_seconds * 1000)],
          ["Leaves alone for", p.cooldown_seconds && duration(p.cooldown_seconds * 1000)],
          ["Also", p.credential_change && "the credential has to be changed"],
          ["Owner", p.owner && <Text value={p.owner} />],
          ["Version", <Code key="version" value={`${p.number ? `${p.number} · ` : ""}${p.version}`} />],
        ]}
      />
    </details>
  );
}

const days = 86_400_000;

/** Try is the editor: a change is checked, and backtested beside what was decided. */
function Try({ yaml }: { yaml: string }) {
  const span = useSpan();
  const go = useGo();
  const refresh = useRefresh();
  const [text, setShown] = useState(policyDraft.get);
  const setText = (next: string | undefined) => {
    setShown(next);
    policyDraft.set(next);
  };
  const [baseline, setBaseline] = useState<"recorded" | "current">("recorded");
  const [back, setBack] = useState(7);
  const [warmUp, setWarmUp] = useState(14);
  const [problems, setProblems] = useState<Problem[]>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const policy = text ?? yaml;
  async function check(): Promise<boolean> {
    const { problems } = await unwrap(api.POST("/v1/policies/check", { body: { yaml: policy } }));
    setProblems(problems ?? []);
    return !problems?.length;
  }
  async function act(work: () => Promise<void>) {
    setBusy(true);
    setError(undefined);
    try {
      await work();
    } catch (cause) {
      setError(cause);
    } finally {
      setBusy(false);
    }
  }
  const backtest = () =>
    act(async () => {
      if (!(await check())) return;
      const to = new Date();
      const job = await unwrap(
        api.POST("/v1/backtests", {
          body: {
            policy,
            baseline,
            from: new Date(to.getTime() - back * days).toISOString(),
            to: to.toISOString(),
            tenant: span.tenant,
            warm_up_days: warmUp,
          },
        }),
      );
      await refresh("/v1/backtests");
      if (!job) return;
      keepTried(job.id, policy);
      go(`/backtests/${job.id}`);
    });
  return (
    <Panel title="Try a change" note="nothing here changes what is in force: that is the policy file, docs/policy.md">
      <label className="field">
        <span>Policies (YAML){!yaml && "; the file in force names other tenants too and is not shown"}</span>
        <textarea
          className="yaml"
          value={policy}
          rows={18}
          maxLength={262_144}
          spellCheck={false}
          onChange={e => {
            setText(e.target.value);
            setProblems(undefined);
          }}
        />
      </label>
      <div className="actions">
        <label className="field">
          <span>Compare with</span>
          <select value={baseline} onChange={e => setBaseline(e.target.value as typeof baseline)}>
            <option value="recorded">what was decided</option>
            <option value="current">the policies in force</option>
          </select>
        </label>
        <label className="field">
          <span>Of the last</span>
          <select value={back} onChange={e => setBack(Number(e.target.value))}>
            {[1, 7, 14, 30, 90].map(n => (
              <option key={n} value={n}>
                {n === 1 ? "day" : `${n} days`}
              </option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>Get to know people for</span>
          <select value={warmUp} onChange={e => setWarmUp(Number(e.target.value))}>
            {[0, 7, 14, 30, 60].map(n => (
              <option key={n} value={n}>
                {n} days before
              </option>
            ))}
          </select>
        </label>
        <button type="button" disabled={busy} onClick={() => void backtest()}>
          Backtest
        </button>
        <button type="button" className="quiet" disabled={busy} onClick={() => void act(async () => void (await check()))}>
          Check only
        </button>
        {text !== undefined && text !== yaml && (
          <button type="button" className="quiet" onClick={() => setText(undefined)}>
            Back to those in force
          </button>
        )}
      </div>
      {error !== undefined && <ErrorNote error={error} />}
      {problems && <Problems of={problems} />}
    </Panel>
  );
}

function Problems({ of: problems }: { of: Problem[] }) {
  if (problems.length === 0) return <p role="status">These policies can be loaded.</p>;
  return (
    <div className="error-note" role="alert">
      <strong>These policies cannot be loaded.</strong>
      <ul>
        {problems.map(p => (
          <li key={`${p.path}${p.line}${p.message}`}>
            {!!p.line && `line ${p.line}: `}
            {p.path && <Code value={p.path} />} <Text value={p.message} limit={1000} />
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Backtests lists those that are known. */
function Backtests() {
  const list = useGet("/v1/backtests", {}, { every: 3_000 });
  return (
    <Panel title="Backtests" note="kept until the api restarts">
      <Answered query={list}>
        {({ backtests }) => (
          <Table
            caption="Backtests, newest first"
            columns={[
              {
                name: "Started",
                tight: true,
                cell: b => (
                  <To path={`/backtests/${b.id}`}>
                    <Time value={b.created} />
                  </To>
                ),
              },
              { name: "State", tight: true, cell: b => <Status value={b.state} /> },
              {
                name: "Of",
                cell: b => (
                  <>
                    <Time value={b.from} style="day" /> to <Time value={b.to} style="day" />
                  </>
                ),
              },
              { name: "Beside", cell: b => (b.baseline === "recorded" ? "what was decided" : "the policies in force") },
              { name: "By", minor: true, cell: b => <Text value={b.by} limit={60} /> },
            ]}
            rows={backtests ?? []}
            rowKey={b => b.id}
            empty={<Empty>None yet. Change something above and press Backtest.</Empty>}
          />
        )}
      </Answered>
    </Panel>
  );
}
