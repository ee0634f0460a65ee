import { useRef, useState } from "react";
import type { Problem } from "../../api/client";
import { ErrorNote } from "../../components";
import { type Marked, markAll, type Triage, untouched, type Verdict, verdicts } from "../finding/marking";

/** useBulk marks several findings. told is called with every mark that was taken. */
export function useBulk(told: (done: Map<string, Triage>) => void) {
  const [busy, setBusy] = useState<{ of: number; done: number }>();
  const [result, setResult] = useState<{ marked: Marked; of: number }>();
  const running = useRef(false);
  async function run(ids: string[], triage: (id: string) => Triage | undefined, verdict: Verdict) {
    const targets = ids.map(id => ({ id, seen: triage(id) ?? untouched })).filter(t => t.seen.verdict !== verdict);
    if (running.current || targets.length === 0) return;
    running.current = true;
    setResult(undefined);
    setBusy({ of: targets.length, done: 0 });
    const marked = await markAll(targets, verdict, done => setBusy({ of: targets.length, done }));
    running.current = false;
    setBusy(undefined);
    setResult({ marked, of: targets.length });
    told(marked.done);
  }
  return { busy, result, run, clear: () => setResult(undefined) };
}

/** BulkBar says what to do with the chosen findings, and what came of it. */
export function BulkBar({
  chosen,
  may,
  bulk,
  act,
  clear,
}: {
  chosen: number;
  may: boolean;
  bulk: ReturnType<typeof useBulk>;
  act: (verdict: Verdict) => void;
  clear: () => void;
}) {
  const { busy, result } = bulk;
  const failed = result ? [...result.marked.failed.values()] : [];
  return (
    <div className="bulk-frame">
      {may && chosen > 0 && (
        <fieldset className="bulk" disabled={busy !== undefined}>
          <legend className="visually-hidden">What the chosen findings are</legend>
          <strong>{chosen} chosen</strong>
          {verdicts.map(({ verdict, label }) => (
            <button key={verdict} type="button" className="quiet" onClick={() => act(verdict)}>
              {label}
            </button>
          ))}
          <button type="button" className="quiet" onClick={clear}>
            Choose none
          </button>
        </fieldset>
      )}
      <p role="status" className={busy || result ? undefined : "visually-hidden"}>
        {busy && `Marking ${busy.done + 1} of ${busy.of}…`}
        {result && (
          <>
            {result.marked.done.size} of {result.of} marked.
            {result.marked.conflicts.length > 0 &&
              ` ${result.marked.conflicts.length} left as they are: somebody else has marked them meanwhile.`}
          </>
        )}
      </p>
      {failed[0] && <ErrorNote error={failed[0] as Problem} />}
    </div>
  );
}
