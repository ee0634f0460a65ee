import { useEffect, useId, useState } from "react";
import type { Schemas } from "../../api/client";
import { ErrorNote, Panel, Saved, Status, Text, Time } from "../../components";
import { useMay, useMe } from "../../shell/me";
import { shortcuts } from "../../shell/shortcuts";
import { useKeys } from "../parts/keys";
import { type Triage, useMarking, type Verdict, verdicts } from "./marking";

const words: Record<Verdict, string> = {
  open: "open",
  acknowledged: "acknowledged",
  true_positive: "a true positive",
  false_positive: "a false positive",
};

/** TriageBox says what people make of a finding, and lets those who may say it. It works while the history is away, too. */
export function TriageBox({ id, kept, marks }: { id: string; kept: Triage | undefined; marks: Schemas["Mark"][] | undefined }) {
  const me = useMe();
  const may = useMay("triage");
  const { shown, state, save, dismiss } = useMarking(id, kept, me.name);
  const [comment, setComment] = useState(shown.comment);
  const [assignee, setAssignee] = useState(shown.assignee);
  const why = useId();
  const letters = shortcuts.use() === "on";
  // What somebody else says comes into the fields, unless something was typed there.
  const [base, setBase] = useState({ comment: shown.comment, assignee: shown.assignee });
  useEffect(() => {
    if (shown.comment !== base.comment || shown.assignee !== base.assignee) {
      if (comment === base.comment) setComment(shown.comment);
      if (assignee === base.assignee) setAssignee(shown.assignee);
      setBase({ comment: shown.comment, assignee: shown.assignee });
    }
  }, [shown.comment, shown.assignee, base, comment, assignee]);

  const busy = state.is === "saving";
  const changed = comment !== shown.comment || assignee !== shown.assignee;
  const say = (verdict: Verdict, who = assignee) => void save({ verdict, comment: comment.trim(), assignee: who.trim() });
  useKeys(Object.fromEntries(verdicts.map(v => [v.key, () => may && !busy && v.verdict !== shown.verdict && say(v.verdict)])));

  return (
    <Panel title="Triage" className="triage" note={<Status value={shown.verdict} />}>
      <p className="triage-now" role="status">
        {shown.by ? (
          <>
            <Text value={shown.by} limit={80} /> says it is {words[shown.verdict]}.
          </>
        ) : (
          "Nobody has looked at it yet."
        )}
        {shown.assignee && (
          <>
            {" "}
            <strong>
              <Text value={shown.assignee} limit={80} />
            </strong>{" "}
            looks into it.
          </>
        )}
      </p>
      {shown.by && shown.time && (
        <p className="soft triage-when">
          <Time value={shown.time} style="ago" />
        </p>
      )}
      {shown.comment && (
        <blockquote className="comment">
          <Comment text={shown.comment} />
        </blockquote>
      )}
      {!may && (
        <p className="soft" id={why}>
          You may look but not mark: that needs the scope “triage”, which analysts have. Ask an administrator.
        </p>
      )}
      <fieldset className="triage-form" disabled={!may || busy} aria-describedby={may ? undefined : why}>
        <legend className="visually-hidden">What it is</legend>
        <div className="verdicts">
          {verdicts
            .filter(({ verdict }) => verdict !== "open" || shown.verdict !== "open")
            .map(({ verdict, label, key }) => (
              <button
                key={verdict}
                type="button"
                className={shown.verdict === verdict ? "chosen" : "quiet"}
                aria-pressed={shown.verdict === verdict}
                aria-keyshortcuts={letters ? key : undefined}
                title={letters ? `Key: ${key}` : undefined}
                onClick={() => say(verdict)}
              >
                {label}
              </button>
            ))}
        </div>
        <label className="field">
          <span>Comment</span>
          <textarea
            value={comment}
            rows={3}
            maxLength={4000}
            onChange={e => setComment(e.target.value)}
            placeholder="What you found out"
          />
        </label>
        <div className="assign">
          <label className="field">
            <span>Assigned to</span>
            <input
              type="text"
              value={assignee}
              maxLength={120}
              autoComplete="off"
              spellCheck={false}
              onChange={e => setAssignee(e.target.value)}
            />
          </label>
          <button
            type="button"
            className="quiet"
            disabled={assignee === me.name && shown.assignee === me.name}
            onClick={() => {
              setAssignee(me.name);
              say(shown.verdict, me.name);
            }}
          >
            Assign to me
          </button>
          <button type="button" disabled={!changed} onClick={() => say(shown.verdict)}>
            Save
          </button>
        </div>
      </fieldset>
      <Saved
        what={state.is === "saved" && state.blind ? "Saved; the history is away, so it may replace another's mark." : "Saved."}
        at={state.is === "saved" ? state.at : 0}
      />
      {state.is === "conflict" && (
        <div className="error-note" role="alert">
          <strong>Somebody was first.</strong> <Text value={shown.by || "Somebody"} limit={80} /> has marked it as{" "}
          {words[shown.verdict]} meanwhile; you wanted {words[state.wanted.verdict]}.
          <div className="error-advice">
            <button type="button" className="quiet" onClick={dismiss}>
              Keep theirs
            </button>
            <button type="button" onClick={() => void save(state.wanted, true)}>
              Put mine in its place
            </button>
          </div>
        </div>
      )}
      {state.is === "failed" && <ErrorNote error={state.error} retry={() => void save(state.wanted)} />}
      {!kept && may && state.is === "idle" && (
        <p className="soft">The history does not answer now. Marks are taken all the same.</p>
      )}
      {marks && marks.length > 0 && <Marks marks={marks} />}
    </Panel>
  );
}

function Marks({ marks }: { marks: Schemas["Mark"][] }) {
  return (
    <details className="marks">
      <summary>{marks.length === 1 ? "One mark" : `${marks.length} marks`}</summary>
      <ol>
        {marks.map(mark => (
          <li key={mark.id}>
            <Time value={mark.time} /> <Text value={mark.by} limit={80} /> <Status value={mark.verdict} />
            {mark.assignee && (
              <span className="soft">
                {" "}
                → <Text value={mark.assignee} limit={80} />
              </span>
            )}
            {mark.comment && (
              <blockquote className="comment">
                <Comment text={mark.comment} />
              </blockquote>
            )}
          </li>
        ))}
      </ol>
    </details>
  );
}

/** Comment keeps the lines that were typed. */
function Comment({ text }: { text: string }) {
  const lines = text.split("\n").map((line, i) => ({ line, id: `${i}` }));
  return lines.map(({ line, id }) => (
    <p key={id}>
      <Text value={line} limit={4096} />
    </p>
  ));
}
