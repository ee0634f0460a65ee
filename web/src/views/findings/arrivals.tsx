import { useEffect, useRef, useState } from "react";
import type { Schemas } from "../../api/client";
import { useLive } from "../../api/live";

const most = 500;
const askAgain = 1_500; // milliseconds
const tries = 7;

/** What the feed brought: when each finding was, by its id. */
export type Arrived = ReadonlyMap<string, string>;

/**
 * lacking are the findings that arrived and that a list should show and does not. One that is older than the last row of a
 * list with more pages is on a later page.
 */
export function lacking(arrived: Arrived, rows: { id: string; time: string }[], more: boolean): string[] {
  const known = new Set(rows.map(row => row.id));
  const last = more ? Date.parse(rows[rows.length - 1]?.time ?? "") : Number.NaN;
  return [...arrived].filter(([id, time]) => !known.has(id) && !(Date.parse(time) < last)).map(([id]) => id);
}

/** The list that findings arrive above. */
interface List {
  /** Names its filters and its span: another list begins to count anew. */
  key: string;
  rows: { id: string; time: string }[];
  hasMore: boolean;
  /** The first page as it was answered last. */
  first: unknown;
  /** Tells whether the list would show a finding. */
  takes: (finding: Schemas["Finding"]) => boolean;
  ask: () => Promise<unknown>;
}

/** useArrivals counts what the feed brought that the list has not, and brings it into the list when told to. */
export function useArrivals({ key, rows, hasMore, first, takes, ask }: List) {
  const [arrived, setArrived] = useState<Arrived>(new Map());
  const [missed, setMissed] = useState(false);
  // The feed is ahead of the history: what was to be shown and is not there yet is asked for again, for a while.
  const [wanted, setWanted] = useState<{ ids: ReadonlySet<string>; left: number }>();
  const asking = useRef(ask);
  useEffect(() => {
    asking.current = ask;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: another list begins to count anew
  useEffect(() => {
    setArrived(new Map());
    setMissed(false);
    setWanted(undefined);
  }, [key]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new first page has what was missed
  useEffect(() => {
    setMissed(false);
    setArrived(before => {
      const still = new Set(lacking(before, rows, hasMore));
      return still.size === before.size ? before : new Map([...before].filter(([id]) => still.has(id)));
    });
  }, [first]);
  useLive("finding", finding => {
    if (!takes(finding)) return;
    setArrived(before =>
      before.size >= most || before.has(finding.id) ? before : new Map(before).set(finding.id, finding.time),
    );
  });
  useLive("reset", () => setMissed(true));

  const news = lacking(arrived, rows, hasMore);
  const waiting = wanted ? news.filter(id => wanted.ids.has(id)).length : 0;
  useEffect(() => {
    if (!wanted || wanted.left === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let ended = false;
    void asking.current().finally(() => {
      if (!ended) timer = setTimeout(() => setWanted(now => now && { ...now, left: now.left - 1 }), askAgain);
    });
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, [wanted]);
  useEffect(() => {
    if (!wanted || (waiting > 0 && wanted.left > 0)) return;
    // What the history has not even now is not of this list.
    setArrived(before => new Map([...before].filter(([id]) => !wanted.ids.has(id))));
    setWanted(undefined);
  }, [wanted, waiting]);

  return {
    count: news.length - waiting,
    waiting,
    missed,
    show: () => {
      setMissed(false);
      setWanted({ ids: new Set(news), left: tries });
    },
  };
}

/** Arrivals says how many there are above the list, and shows them when told to. */
export function Arrivals({
  of: { count, waiting, missed },
  show,
}: {
  of: { count: number; waiting: number; missed: boolean };
  show: () => void;
}) {
  const said = count >= most ? `${most} or more new` : count > 0 ? `${count} new` : missed ? "There may be new ones" : "";
  return (
    <div className="arrivals" role="status" aria-live="polite">
      {said ? (
        <button type="button" className="arrivals-button" onClick={show}>
          {said}: show
        </button>
      ) : (
        waiting > 0 && <span className="soft">The history is about to have {waiting === 1 ? "it" : `${waiting} of them`}.</span>
      )}
    </div>
  );
}
