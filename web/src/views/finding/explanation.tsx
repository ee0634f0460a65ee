import { useState } from "react";
import type { Schemas } from "../../api/client";
import { useGet } from "../../api/queries";
import { Answered, Empty, Panel, Tag, Text, Time } from "../../components";
import { duration } from "../../format/numbers";
import { actionName } from "./words";

type Explained = Schemas["ExplainedExplanation"];

/** Explanation decides the event anew from the user's history, on demand: it may take seconds. */
export function Explanation({ id }: { id: string }) {
  const [asked, setAsked] = useState(false);
  const query = useGet("/v1/findings/{id}/explanation", { path: { id } }, { enabled: asked });
  return (
    <Panel title="In full">
      {!asked ? (
        <>
          <p>
            Every fact of the event, how long each step took, and what each policy said. It is found out by replaying the user’s
            history, which may take some seconds.
          </p>
          <p>
            <button type="button" className="quiet" onClick={() => setAsked(true)}>
              Explain in full
            </button>
          </p>
        </>
      ) : (
        <Answered query={query} loading="Replaying the user’s history">
          {x => <Full x={x} />}
        </Answered>
      )}
    </Panel>
  );
}

function Full({ x }: { x: Explained }) {
  return (
    <div className="explained">
      <Lines title="The event" lines={x.facts ?? []} />
      <Times times={x.times} />
      <Policies x={x} />
      {(x.findings ?? []).map(({ finding, evidence }) => (
        <details key={finding.id}>
          <summary>
            {finding.detection} {finding.title}: {finding.severity}, {finding.disposition}
          </summary>
          <p>
            <Text value={finding.summary} />
          </p>
          <Lines lines={evidence ?? []} />
        </details>
      ))}
      {x.proved_by && x.proved_by.length > 0 && <Lines title="What satisfied the requirement" lines={x.proved_by} />}
      {x.notes && x.notes.length > 0 && (
        <ul className="notes">
          {x.notes.map(note => (
            <li key={note} className="soft">
              Note: <Text value={note} />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Lines({ title, lines }: { title?: string; lines: Schemas["ExplainedLine"][] }) {
  const rows = lines.map((line, i) => ({ ...line, id: `${i}` }));
  return (
    <>
      {title && <h3>{title}</h3>}
      <dl className="lines">
        {rows.map(line => (
          <div key={line.id}>
            <dt>
              <Text value={line.name} limit={60} />
            </dt>
            <dd>
              <Text value={line.text} limit={1000} />
            </dd>
          </div>
        ))}
      </dl>
    </>
  );
}

function Times({ times }: { times: Schemas["ExplainedTimes"] }) {
  const steps: [string, string | undefined][] = [
    ["Happened", times.happened],
    ["Written by the source", times.emitted],
    ["Accepted", times.ingested],
    ["On the log", times.logged],
    ["Decided", times.decided],
  ];
  const known = steps.filter((step): step is [string, string] => step[1] !== undefined);
  if (known.length < 2) return null;
  return (
    <>
      <h3>How long it took</h3>
      <ol className="steps">
        {known.map(([name, time], i) => {
          const before = known[i - 1];
          return (
            <li key={name} className="step">
              <b>{name}</b>
              <span className="step-ms">{before ? `+ ${duration(Date.parse(time) - Date.parse(before[1]))}` : ""}</span>
              <span className="soft">
                <Time value={time} style="clock" />
              </span>
            </li>
          );
        })}
      </ol>
    </>
  );
}

function Policies({ x }: { x: Explained }) {
  const [all, setAll] = useState(false);
  const list = x.policies ?? [];
  if (list.length === 0) return null;
  const decided = x.decision?.policy;
  const quiet = (c: Schemas["Considered"]) => c.name !== decided && (c.answer === "no_match" || c.answer === "not_for");
  const shown = all ? list : list.filter(c => !quiet(c));
  return (
    <>
      <h3>The policies, in the order in which they are asked</h3>
      {!x.current && <p className="soft">Other policies are in force now than decided: this is what they would say now.</p>}
      {shown.length === 0 && <Empty>None matched.</Empty>}
      <ol className="policies-asked">
        {shown.map(c => (
          <li key={c.name} className={c.name === decided ? "decided" : undefined}>
            <b>
              <Text value={c.name} limit={80} />
            </b>{" "}
            {actionName(c.action)} {c.mode === "observe" && <Tag>only observes</Tag>} <Tag>{c.answer.replaceAll("_", " ")}</Tag>
            {c.name === decided && <Tag>decided</Tag>}
            {c.problem && (
              <p className="tone-bad">
                <Text value={c.problem} />
              </p>
            )}
            <code className="condition">
              <Text value={c.when.split(/\s+/).join(" ")} limit={600} />
            </code>
          </li>
        ))}
      </ol>
      {shown.length < list.length && (
        <button type="button" className="quiet" onClick={() => setAll(true)}>
          Show the {list.length - shown.length} that do not match
        </button>
      )}
    </>
  );
}
