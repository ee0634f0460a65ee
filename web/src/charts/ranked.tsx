import type { ReactNode } from "react";
import { count } from "../format/numbers";

export interface Rank {
  key: string;
  /** What is counted: a link, where there is a list of it. */
  label: ReactNode;
  value: number;
  tone?: string;
  /** Said beside the number. */
  note?: ReactNode;
}

/** Ranked lists counts with bars to the same scale. */
export function Ranked({ of, empty, format = count }: { of: Rank[]; empty: ReactNode; format?: (n: number) => string }) {
  if (of.length === 0) return <p className="empty">{empty}</p>;
  const most = Math.max(1, ...of.map(r => r.value));
  return (
    <ul className="ranked">
      {of.map(r => (
        <li key={r.key}>
          <span className="ranked-label">{r.label}</span>
          <span className="ranked-value">
            {r.note && <span className="soft">{r.note} </span>}
            {format(r.value)}
          </span>
          <span className="ranked-bar" aria-hidden="true">
            <i className={`tone-fill-${r.tone ?? "events"}`} style={{ width: `${Math.max(0.5, (r.value / most) * 100)}%` }} />
          </span>
        </li>
      ))}
    </ul>
  );
}
