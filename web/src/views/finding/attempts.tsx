import type { Schemas } from "../../api/client";
import { useWidth } from "../../charts/width";
import { Time } from "../../components";
import { duration } from "../../format/numbers";
import { causeName } from "./words";

type Attempt = Schemas["Attempt"];

/** Attempts shows failures or prompts on a line of time, and as a list. */
export function Attempts({ attempts }: { attempts: Attempt[] }) {
  const first = attempts[0];
  const last = attempts[attempts.length - 1];
  if (!first || !last) return null;
  const reasons = new Map<string, number>();
  for (const attempt of attempts) reasons.set(causeName(attempt.cause), (reasons.get(causeName(attempt.cause)) ?? 0) + 1);
  const networks = new Set(attempts.map(a => a.asn).filter(Boolean)).size;
  const rows = attempts.map((attempt, i) => ({ attempt, id: `${i}` }));
  return (
    <>
      <p>
        {attempts.length} in {duration(Date.parse(last.time) - Date.parse(first.time))}:{" "}
        {[...reasons].map(([reason, n]) => `${n} × ${reason}`).join(", ")}
        {networks > 1 && `, from ${networks} networks`}.
      </p>
      <Strip attempts={attempts} />
      <details open={attempts.length <= 6}>
        <summary>One by one</summary>
        <table className="compact">
          <caption className="visually-hidden">Attempts, oldest first</caption>
          <thead>
            <tr>
              <th scope="col">When</th>
              <th scope="col">What became of it</th>
              <th scope="col">Network</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ attempt, id }) => (
              <tr key={id}>
                <td>
                  <Time value={attempt.time} />
                </td>
                <td>{causeName(attempt.cause)}</td>
                <td>{attempt.asn ? `AS${attempt.asn}` : "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </>
  );
}

function Strip({ attempts }: { attempts: Attempt[] }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const times = attempts.map(a => Date.parse(a.time));
  const from = Math.min(...times);
  const range = Math.max(...times) - from;
  if (attempts.length < 2 || range <= 0) return null;
  const marks = times.map((t, i) => ({ x: 8 + ((t - from) / range) * (width - 16), id: `${i}` }));
  return (
    <div ref={ref} className="strip">
      <svg viewBox={`0 0 ${width} 26`} width={width} height="26" aria-hidden="true">
        <line className="axis" x1="4" x2={width - 4} y1="13" y2="13" />
        {marks.map(({ x, id }) => (
          <circle key={id} className="attempt" cx={x} cy="13" r="5" />
        ))}
      </svg>
    </div>
  );
}
