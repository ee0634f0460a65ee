import { Code, NetworkLink, Panel, SessionLink, Text, Time } from "../../components";
import { compare, type Difference } from "./compare";
import { changedName, type Finding, type Sight } from "./words";

/** What a finding compares, where it compares two observations. */
export function sidesOf(
  finding: Finding,
): { before: Sight; after: Sight; titles: [string, string]; changed: string[] } | undefined {
  const e = finding.evidence;
  if (e.session) {
    return {
      before: e.session.started,
      after: e.sight,
      titles: ["Session began", "Session now"],
      changed: e.session.changed ?? [],
    };
  }
  if (e.travel) return { before: e.travel.from, after: e.travel.to, titles: ["Before", "Now"], changed: [] };
  return undefined;
}

/** Sides puts two observations side by side and marks what differs. */
export function Sides({ finding }: { finding: Finding }) {
  const sides = sidesOf(finding);
  if (!sides) return null;
  const rows = compare(sides.before, sides.after);
  const different = rows.filter(row => row.differs).length;
  const of = finding.evidence.session ? "the session" : "the two sightings";
  return (
    <Panel
      title={finding.evidence.session ? "One session, two devices?" : "The two sightings"}
      note={
        different === 0 ? "nothing differs that both know" : `${different} ${different === 1 ? "difference" : "differences"}`
      }
    >
      {sides.changed.length > 0 && (
        <p>
          Told apart by: <strong>{sides.changed.map(changedName).join(", ")}</strong>.
        </p>
      )}
      <table className="sides">
        <caption className="visually-hidden">What differs between {of} before and now</caption>
        <thead>
          <tr>
            <th scope="col">
              <span className="visually-hidden">What</span>
            </th>
            <th scope="col">{sides.titles[0]}</th>
            <th scope="col">{sides.titles[1]}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(row => (
            <tr key={row.name} className={row.differs ? "differs" : undefined}>
              <th scope="row">
                {row.name}
                {row.differs && <span className="visually-hidden"> (differs)</span>}
              </th>
              <td>
                <Value row={row} value={row.before} tenant={finding.tenant} />
              </td>
              <td>
                <Value row={row} value={row.after} tenant={finding.tenant} />
                {row.differs && (
                  <span className="mark" aria-hidden="true">
                    ≠
                  </span>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

function Value({ row, value, tenant }: { row: Difference; value: string; tenant: string }) {
  if (!value) return <span className="soft">unknown</span>;
  switch (row.kind) {
    case "time":
      return <Time value={value} />;
    case "ip":
      return <NetworkLink ip={value} />;
    case "session":
      return <SessionLink tenant={tenant} session={value} />;
    default:
      return row.name === "Device id" ? <Code value={value} limit={60} /> : <Text value={value} limit={120} />;
  }
}
