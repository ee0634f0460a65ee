import "./findings.css";
import { useCallback, useMemo, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import type { Schemas } from "../api/client";
import { useLive } from "../api/live";
import { useGet, usePages, useRefresh } from "../api/queries";
import {
  Answered,
  Choice,
  Choices,
  type Column,
  Empty,
  Filters,
  FindingLink,
  More,
  NetworkLink,
  Page,
  Severity,
  Status,
  Table,
  Tag,
  Text,
  Time,
  Typed,
  UserLink,
} from "../components";
import { useMay } from "../shell/me";
import { useSpan } from "../shell/span";
import { type Triage, untouched, type Verdict, verdicts } from "./finding/marking";
import { actionName, placeName, refName } from "./finding/words";
import { Arrivals, useArrivals } from "./findings/arrivals";
import { BulkBar, useBulk } from "./findings/bulk";
import {
  dispositionNames,
  filterNames,
  matches,
  questionOf,
  readFilter,
  severityNames,
  triageNames,
} from "./findings/matching";
import { useKeys } from "./parts/keys";
import { rowOf, stepRow } from "./parts/rows";
import { Shortcuts } from "./parts/shortcuts";

type Finding = Schemas["Finding"];

const rowsOf = (page: Schemas["FindingsAnswerBody"]) => page.findings;

export function Component() {
  const span = useSpan();
  const [search] = useSearchParams();
  const may = useMay("triage");
  const text = filterNames.map(name => search.get(name) ?? "").join("\n");
  // biome-ignore lint/correctness/useExhaustiveDependencies: the text is all that the filters are
  const filter = useMemo(() => readFilter(search), [text]);
  const params = useMemo(() => ({ query: questionOf(filter) }), [filter]);
  const list = usePages("/v1/findings", params, rowsOf, { span });
  const rules = useGet("/v1/rules", {}, { span });
  const refresh = useRefresh();
  const frame = useRef<HTMLDivElement>(null);

  // What was marked since the list came, here or by others.
  const [marks, setMarks] = useState<ReadonlyMap<string, Triage>>(new Map());
  const triage = useMemo(() => {
    const all = new Map<string, Triage>();
    for (const page of list.data?.pages ?? []) for (const [id, t] of Object.entries(page.body.triage ?? {})) all.set(id, t);
    for (const [id, t] of marks) if ((t.time ?? "") > (all.get(id)?.time ?? "")) all.set(id, t);
    return all;
  }, [list.data, marks]);
  useLive("mark", m =>
    setMarks(before =>
      new Map(before).set(m.finding, {
        mark: m.id,
        verdict: m.verdict as Verdict,
        comment: m.comment ?? "",
        assignee: m.assignee ?? "",
        by: m.by,
        time: m.time,
      }),
    ),
  );
  const bulk = useBulk(done => setMarks(before => new Map([...before, ...done])));

  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const rows = list.rows ?? [];
  const shown = rows.filter(row => chosen.has(row.id)).map(row => row.id); // what is not seen is not acted on
  const choose = useCallback(
    (id: string) =>
      setChosen(before => (before.has(id) ? new Set([...before].filter(b => b !== id)) : new Set(before).add(id))),
    [],
  );
  const act = (verdict: Verdict, ids: string[]) => {
    if (may) void bulk.run(ids, id => triage.get(id), verdict);
  };

  const arrivals = useArrivals({
    key: `${span.key}/${text}`,
    rows,
    hasMore: list.hasNextPage,
    first: list.data?.pages[0],
    takes: finding => span.preset !== undefined && finding.time >= span.query().from && matches(finding, filter, span.tenant),
    ask: () => refresh("/v1/findings"),
  });
  const showNew = () => {
    scrollTo({ top: 0 });
    arrivals.show();
  };

  const focused = () => rowOf(frame)?.querySelector("[data-finding]")?.getAttribute("data-finding") ?? undefined;
  const onFocused = (run: (id: string) => void) => () => {
    const id = focused();
    if (id) run(id);
  };
  useKeys({
    j: () => stepRow(frame, 1),
    k: () => stepRow(frame, -1),
    x: onFocused(id => may && choose(id)),
    n: showNew,
    ...Object.fromEntries(
      verdicts.map(v => [v.key, () => (shown.length > 0 ? act(v.verdict, shown) : onFocused(id => act(v.verdict, [id]))())]),
    ),
  });

  return (
    <Page
      title="Findings"
      lead="What the detections saw, newest first. Severity is not an action: policy decides what happens."
      actions={<Shortcuts keys={keys} />}
    >
      <Filters names={[...filterNames]}>
        <Choices name="severity" label="Severity" options={severityNames} render={s => <Severity value={s} />} />
        <Choice name="triage" label="Triage" options={triageNames} />
        <Choice name="disposition" label="Disposition" options={dispositionNames} />
        <Typed name="detection" label="Detection" placeholder="LOC-01" list={rules.data?.rules.map(rule => rule.detection)} />
        <Typed name="user" label="User id" />
        <Typed name="ip" label="Address or network" placeholder="192.0.2.0/24" />
        <Typed name="country" label="Country" placeholder="NO" />
        <Typed name="app" label="App id" />
        <Typed name="session" label="Session" />
      </Filters>
      <Arrivals of={arrivals} show={showNew} />
      <BulkBar
        chosen={shown.length}
        may={may}
        bulk={bulk}
        act={verdict => act(verdict, shown)}
        clear={() => setChosen(new Set())}
      />
      <Answered query={{ ...list, data: list.rows }} loading="Looking for findings">
        {found => (
          <div ref={frame} className="findings">
            <Table
              caption="Findings, newest first"
              columns={columns(triage, may, chosen, choose)}
              rows={found}
              rowKey={row => row.id}
              rowClass={row => (chosen.has(row.id) ? "chosen" : undefined)}
              empty={
                <Empty>
                  Nothing was found in this time
                  {text.replaceAll("\n", "")
                    ? " with these filters: clear some, or look at a longer time."
                    : ". Quiet is good; a longer time shows more."}
                </Empty>
              }
            />
            <More query={list} />
          </div>
        )}
      </Answered>
    </Page>
  );
}

const keys: [string, string][] = [
  ["j k", "next, previous finding"],
  ["Enter", "open it"],
  ["x", "choose it"],
  ["a", "acknowledge"],
  ["t", "true positive"],
  ["f", "false positive"],
  ["o", "reopen"],
  ["n", "show the new ones"],
];

function columns(
  triage: ReadonlyMap<string, Triage>,
  may: boolean,
  chosen: ReadonlySet<string>,
  choose: (id: string) => void,
): Column<Finding>[] {
  const all: (Column<Finding> | false)[] = [
    may && {
      name: "Choose",
      tight: true,
      cell: f => (
        <input
          type="checkbox"
          checked={chosen.has(f.id)}
          onChange={() => choose(f.id)}
          aria-label={`Choose ${f.detection} of ${f.user.id.slice(0, 80)}`}
        />
      ),
    },
    { name: "Time", tight: true, cell: f => <Time value={f.time} /> },
    { name: "Severity", tight: true, cell: f => <Severity value={f.severity} /> },
    {
      name: "Finding",
      cell: f => (
        <span data-finding={f.id}>
          <span className="lead-link">
            <FindingLink id={f.id}>
              {f.detection} {f.title}
            </FindingLink>
          </span>{" "}
          {f.disposition !== "active" && <Status value={f.disposition} />}
          <span className="summary">
            <Text value={f.summary} limit={240} />
          </span>
        </span>
      ),
    },
    { name: "User", cell: f => <UserLink tenant={f.tenant} user={f.user.id} name={f.user.name} /> },
    {
      name: "Where",
      minor: true,
      cell: f => (
        <>
          <Text value={placeName(f.evidence.sight.place)} limit={60} />{" "}
          {f.evidence.sight.ip && <NetworkLink ip={f.evidence.sight.ip} />}
        </>
      ),
    },
    { name: "App", minor: true, cell: f => <Text value={refName(f.evidence.sight.app)} limit={60} /> },
    { name: "Decision", minor: true, cell: f => <Decided finding={f} /> },
    { name: "Triage", tight: true, cell: f => <Judged triage={triage.get(f.id)} /> },
  ];
  return all.filter(column => column !== false);
}

function Decided({ finding: { decision } }: { finding: Finding }) {
  if (!decision?.policy) return <span className="soft">–</span>;
  return (
    <>
      {actionName(decision.action)} {decision.observed && <Tag>only watched</Tag>}
      {decision.held && <Tag>held</Tag>}
    </>
  );
}

function Judged({ triage = untouched }: { triage?: Triage }) {
  return (
    <>
      <Status value={triage.verdict} />
      {triage.assignee && (
        <span className="soft assignee">
          <Text value={triage.assignee} limit={40} />
        </span>
      )}
    </>
  );
}
