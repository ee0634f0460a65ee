import { deviceName, held, networkName, placeName, refName, type Sight } from "./words";

/** A row of a comparison of two observations. kind says how a value is shown. */
export interface Difference {
  name: string;
  before: string;
  after: string;
  /** Set when both are known and not the same. */
  differs: boolean;
  kind: "text" | "time" | "ip" | "session";
}

type Part = [name: string, of: (s: Sight) => string, kind?: Difference["kind"]];

const rowsOf: Part[] = [
  ["Time", s => s.time ?? "", "time"],
  ["Place", s => placeName(s.place)],
  ["Network", s => networkName(s.network)],
  ["Kind of network", s => (s.network?.classes ?? []).join(", ")],
  ["Address", s => s.ip ?? "", "ip"],
  ["System", s => s.device?.os ?? ""],
  ["Browser", s => s.device?.browser ?? ""],
  ["Kind of device", s => s.device?.type ?? ""],
  ["Device id", s => s.device?.id ?? ""],
  ["Device name", s => s.device?.name ?? ""],
  ["Managed", s => held(s.device?.managed, "yes", "no")],
  ["Compliant", s => held(s.device?.compliant, "yes", "no")],
  ["App", s => refName(s.app)],
  ["Resource", s => refName(s.resource)],
  ["Session", s => s.session ?? "", "session"],
];

// A network's owner is not remembered of earlier observations, so its number alone tells two of them apart.
const known: Record<string, (s: Sight) => string> = {
  Network: s => (s.network?.asn ? String(s.network.asn) : ""),
};

/** compare puts two observations side by side. What neither knows is left out; what one does not know differs not. */
export function compare(before: Sight, after: Sight): Difference[] {
  return rowsOf
    .map(([name, of, kind = "text"]) => {
      const identity = known[name] ?? of;
      const a = identity(before);
      const b = identity(after);
      return { name, before: of(before), after: of(after), differs: kind !== "time" && a !== "" && b !== "" && a !== b, kind };
    })
    .filter(row => row.before !== "" || row.after !== "");
}

/** sightName is an observation in a few words, for labels. */
export function sightName(sight: Sight): string {
  return [placeName(sight.place), networkName(sight.network), deviceName(sight.device)].filter(Boolean).join(" · ");
}
