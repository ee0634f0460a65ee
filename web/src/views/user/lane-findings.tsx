import type { Schemas } from "../../api/client";
import { FindingLink, rank, To } from "../../components";
import { useZone, when } from "../../format/time";
import { clusters, type Extent, share } from "./lane-layout";

type LaneFinding = Schemas["LaneFinding"];

const shapes: Record<string, string> = { critical: "◆", high: "▲", medium: "■", low: "●", info: "○" };

/** FindingMarks are the findings on the line of time; those too close together are one mark with their number. */
export function FindingMarks({
  findings,
  extent,
  width,
  tenant,
  user,
}: {
  findings: LaneFinding[];
  extent: Extent;
  width: number;
  tenant: string;
  user: string;
}) {
  if (findings.length === 0) return null;
  const groups = clusters(findings, f => share(Date.parse(f.time), extent) * width, 20).filter(
    g => g.x >= -1 && g.x <= width + 1,
  );
  const present = Object.keys(shapes).filter(severity => findings.some(f => f.severity === severity));
  return (
    <div className="lane-group">
      <h3>Findings</h3>
      <div className="lane-row">
        <span className="lane-label legend">
          {present.map(severity => (
            <span key={severity} className="soft">
              <span className={`severity-${severity}`} aria-hidden="true">
                {shapes[severity]}
              </span>{" "}
              {severity}
            </span>
          ))}
        </span>
        <ul className="lane-track lane-marks" aria-label="Findings">
          {groups.map(group => {
            const worst = group.things.reduce((a, b) => (rank(b.severity) > rank(a.severity) ? b : a));
            return (
              <li
                key={worst.id}
                style={{ left: Math.min(Math.max(group.x, 9), width - 9) }}
                className={`severity-${worst.severity}`}
              >
                <Mark group={group.things} worst={worst} tenant={tenant} user={user} />
              </li>
            );
          })}
        </ul>
      </div>
    </div>
  );
}

function Mark({ group, worst, tenant, user }: { group: LaneFinding[]; worst: LaneFinding; tenant: string; user: string }) {
  const zone = useZone();
  const times = group.map(f => Date.parse(f.time));
  const first = new Date(Math.min(...times)).toISOString();
  if (group.length === 1 || times.every(t => t === times[0])) {
    const others = group.length > 1 ? ` and ${group.length - 1} more of the same event` : "";
    return (
      <FindingLink id={worst.id}>
        <span aria-hidden="true" title={`${worst.detection}, ${worst.severity}, ${when(first, "short", zone)}${others}`}>
          {shapes[worst.severity] ?? "○"}
        </span>
        <span className="visually-hidden">{`${worst.detection}, ${worst.severity}, ${when(first, "short", zone)}${others}`}</span>
      </FindingLink>
    );
  }
  const said = `${group.length} findings from ${when(first, "short", zone)} on, the worst ${worst.severity}`;
  const range = { from: first, to: new Date(Math.max(...times) + 1000).toISOString(), range: undefined };
  return (
    <To path="/findings" query={{ tenant, user, ...range }} label={said}>
      <span title={said}>
        {shapes[worst.severity] ?? "○"}
        <sub>{group.length}</sub>
      </span>
    </To>
  );
}
