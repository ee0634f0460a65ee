import { useWidth } from "../../charts/width";
import { Panel, Text, Time, To } from "../../components";
import { className, type Finding, featureAbout, featureName, likelihood, odds, riskRest } from "./words";

const fixed = (n: number) => (n > 0 ? `+${n.toFixed(1)}` : n.toFixed(1).replace("-", "−"));

/** ScorePanel shows the familiarity score as a sum of bars: right is less familiar, left more. */
export function ScorePanel({ finding }: { finding: Finding }) {
  const score = finding.evidence.score;
  if (!score) return null;
  const parts = [...(score.parts ?? [])].sort((a, b) => b.log_ratio - a.log_ratio);
  const most = Math.max(...parts.map(p => Math.abs(p.log_ratio)), Math.abs(score.value), Math.abs(score.threshold), 1);
  return (
    <Panel title="How unlike the user it is" note={`score ${score.value.toFixed(1)}, limit ${score.threshold.toFixed(1)}`}>
      <p>
        Each part says how much commoner the value is among all users than with this one. The parts are added up: above{" "}
        {score.threshold.toFixed(1)} a sign-in is unfamiliar{score.class ? <> for users {className(score.class)}</> : null}.
      </p>
      <ul className="score-parts">
        {parts.map(part => (
          <li key={part.feature}>
            <span className="part-name">
              {featureName(part.feature)}
              {part.value && (
                <>
                  {" "}
                  <Text value={part.value} limit={60} />
                </>
              )}
            </span>
            <Bar value={part.log_ratio} most={most} />
            <span className="part-value">{fixed(part.log_ratio)}</span>
            <span className="part-words">
              {likelihood(part.log_ratio)}
              {featureAbout(part.feature) && <span className="soft"> ({featureAbout(part.feature)})</span>}
            </span>
          </li>
        ))}
        <li className="sum">
          <span className="part-name">Together</span>
          <Bar value={score.value} most={most} limit={score.threshold} />
          <span className="part-value">{fixed(score.value)}</span>
          <span className="part-words">{likelihood(score.value)}</span>
        </li>
      </ul>
    </Panel>
  );
}

/** Bar stands right of the middle for what speaks against the user, left for what speaks for them. */
function Bar({ value, most, limit }: { value: number; most: number; limit?: number }) {
  const half = 50;
  const width = (Math.abs(value) / most) * half;
  const x = value >= 0 ? half : half - width;
  return (
    <svg className={value >= 0 ? "bar against" : "bar for"} viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
      <rect className="track" width="100" height="10" />
      <rect className="fill" x={x} width={Math.max(width, 0.4)} height="10" />
      <line className="zero" x1={half} x2={half} y1="0" y2="10" />
      {limit !== undefined && (
        <line className="limit" x1={half + (limit / most) * half} x2={half + (limit / most) * half} y1="0" y2="10" />
      )}
    </svg>
  );
}

/** RiskPanel shows the user's accumulated risk and what it comes from, over time. */
export function RiskPanel({
  risk,
  tenant,
  user,
  title = "The user's risk",
}: {
  risk: { before?: number; after: number; parts?: { detection: string; time: string; decibans: number }[] | null };
  tenant: string;
  user: string;
  title?: string;
}) {
  const parts = [...(risk.parts ?? [])].sort((a, b) => Date.parse(b.time) - Date.parse(a.time));
  const rest = riskRest({ before: risk.before ?? 0, after: risk.after, parts: risk.parts ?? [] });
  return (
    <Panel
      title={title}
      note={`${risk.before === undefined ? "" : `${risk.before.toFixed(0)} dB before, `}${risk.after.toFixed(0)} dB after`}
    >
      <p>
        Ten decibans are odds of ten to one. After this event the odds stand at {odds(risk.after)}; they fade by half in a week,
        and a strong proof clears them.
      </p>
      <RiskOverTime parts={parts} />
      <table className="compact">
        <caption className="visually-hidden">What the risk comes from, newest first</caption>
        <tbody>
          {parts.map(part => (
            <tr key={`${part.detection}${part.time}`}>
              <td>
                <To path="/findings" query={{ user, tenant, detection: part.detection }}>
                  {part.detection}
                </To>
              </td>
              <td>
                <Time value={part.time} />
              </td>
              <td className="numeric">{fixed(part.decibans)} dB</td>
            </tr>
          ))}
          {Math.abs(rest) >= 0.5 && (
            <tr>
              <td colSpan={2} className="soft">
                the rest: lesser parts, less what passed proofs have taken off
              </td>
              <td className="numeric">{fixed(rest)} dB</td>
            </tr>
          )}
        </tbody>
      </table>
    </Panel>
  );
}

function RiskOverTime({ parts }: { parts: { detection: string; time: string; decibans: number }[] }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  if (parts.length < 2) return null;
  const times = parts.map(p => Date.parse(p.time));
  const from = Math.min(...times);
  const range = Math.max(Math.max(...times) - from, 60_000);
  const most = Math.max(...parts.map(p => p.decibans), 1);
  const x = (t: number) => 10 + ((t - from) / range) * (width - 20);
  return (
    <div ref={ref} className="risk-over-time">
      <svg
        viewBox={`0 0 ${width} 70`}
        width={width}
        height="70"
        role="img"
        aria-label={`${parts.length} parts of the risk over time; the table below has them`}
      >
        <line className="axis" x1="4" x2={width - 4} y1="62" y2="62" />
        {parts.map((part, i) => {
          const top = 62 - (Math.max(part.decibans, 0) / most) * 50;
          return (
            <g key={`${part.detection}${part.time}`}>
              <line className="stem" x1={x(times[i] as number)} x2={x(times[i] as number)} y1="62" y2={top} />
              <circle className="head" cx={x(times[i] as number)} cy={top} r="4" />
            </g>
          );
        })}
      </svg>
    </div>
  );
}
