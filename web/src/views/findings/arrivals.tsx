import { useEffect, useState } from "react";
import type { Schemas } from "../../api/client";
import { useLive } from "../../api/live";

const most = 500;

/** useArrivals counts what the feed brought since the list was asked for; of is what the list would show. */
export function useArrivals(key: string, of: (finding: Schemas["Finding"]) => boolean, known: (id: string) => boolean) {
  const [ids, setIds] = useState<ReadonlySet<string>>(new Set());
  const [missed, setMissed] = useState(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another list begins to count anew
  useEffect(() => {
    setIds(new Set());
    setMissed(false);
  }, [key]);
  useLive("finding", finding => {
    if (!of(finding) || known(finding.id)) return;
    setIds(before => (before.size >= most || before.has(finding.id) ? before : new Set(before).add(finding.id)));
  });
  useLive("reset", () => setMissed(true));
  return {
    count: ids.size,
    missed,
    clear: () => {
      setIds(new Set());
      setMissed(false);
    },
  };
}

/** Arrivals says how many there are above the list, and shows them when told to. */
export function Arrivals({ count, missed, show }: { count: number; missed: boolean; show: () => void }) {
  const said = count >= most ? `${most} or more new` : count > 0 ? `${count} new` : missed ? "There may be new ones" : "";
  return (
    <div className="arrivals" role="status" aria-live="polite">
      {said && (
        <button type="button" className="arrivals-button" onClick={show}>
          {said}: show
        </button>
      )}
    </div>
  );
}
