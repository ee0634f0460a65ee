import { Facts, Panel, Tag, Text } from "../../components";
import { effectName, type Finding, parameterName, parameterText, rungName } from "./words";

/** Considered shows what speaks against a finding, rung by rung, and what each did to it. */
export function Considered({ finding }: { finding: Finding }) {
  const list = finding.suppressions ?? [];
  const rows = list.map((s, i) => ({ ...s, id: `${i}` }));
  const acted = list.filter(s => s.effect !== "none").length;
  return (
    <Panel
      title="What was considered against it"
      note={list.length > 0 ? (acted === 0 ? "nothing held" : `${acted} of ${list.length} had an effect`) : undefined}
    >
      {list.length === 0 ? (
        <p className="soft">This detection considers nothing of the kind.</p>
      ) : (
        <ol className="rungs">
          {rows.map(s => (
            <li key={s.id} className={s.effect === "none" ? undefined : "acted"}>
              <span className="rung">{rungName(s.rung)}</span>
              <span className="rung-fact">
                <Text value={s.fact} />
              </span>
              <span className="rung-effect">
                {s.effect === "none" ? <span className="soft">no effect</span> : <Tag>{effectName(s.effect)}</Tag>}
              </span>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}

/** Parameters shows the detection's parameters in force. */
export function Parameters({ finding }: { finding: Finding }) {
  const list = finding.parameters ?? [];
  if (list.length === 0) return null;
  return (
    <Panel title="Parameters in force" note={`version ${finding.version} of ${finding.detection}`}>
      <Facts of={list.map(p => [parameterName(p.name), parameterText(p)])} />
    </Panel>
  );
}
