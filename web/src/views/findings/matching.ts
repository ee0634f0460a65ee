import type { Schemas } from "../../api/client";

/** What a list of findings is filtered by: the parameters of the API, "" for none. */
export interface FindingFilter {
  severity: string;
  detection: string;
  disposition: string;
  user: string;
  country: string;
  app: string;
  session: string;
  ip: string;
  triage: string;
}

export const filterNames = [
  "severity",
  "detection",
  "disposition",
  "user",
  "country",
  "app",
  "session",
  "ip",
  "triage",
] as const;

const one = <T extends string>(value: string, of: readonly T[]): T | undefined => of.find(v => v === value);

export const severityNames = ["critical", "high", "medium", "low", "info"] as const;
export const dispositionNames = ["active", "learning", "suppressed", "observed"] as const;
export const triageNames = ["open", "acknowledged", "true_positive", "false_positive"] as const;

/** readFilter reads the filters of an address. */
export function readFilter(search: URLSearchParams): FindingFilter {
  return Object.fromEntries(filterNames.map(name => [name, search.get(name)?.trim() ?? ""])) as unknown as FindingFilter;
}

/** questionOf is the filter as the API takes it; what it would not take is left out. */
export function questionOf(f: FindingFilter) {
  const severity = f.severity.split(",").flatMap(s => one(s, severityNames) ?? []);
  return {
    severity: severity.length > 0 ? severity : undefined,
    detection: f.detection.toUpperCase().slice(0, 64) || undefined,
    disposition: one(f.disposition, dispositionNames),
    user: f.user || undefined,
    country: f.country.toUpperCase() || undefined,
    app: f.app || undefined,
    session: f.session || undefined,
    ip: f.ip || undefined,
    triage: one(f.triage, triageNames),
  };
}

/**
 * matches tells whether a finding that just came would be in the list. An address range other than the finding's own prefix
 * is not reckoned here: it may match.
 */
export function matches(finding: Schemas["Finding"], f: FindingFilter, tenant: string | undefined): boolean {
  const q = questionOf(f);
  const sight = finding.evidence.sight;
  return (
    (!tenant || finding.tenant === tenant) &&
    (!q.severity || (q.severity as string[]).includes(finding.severity)) &&
    (!q.detection || finding.detection === q.detection) &&
    (!q.disposition || finding.disposition === q.disposition) &&
    (!q.user || finding.user.id === q.user) &&
    (!q.country || sight.place?.country === q.country) &&
    (!q.app || sight.app?.id === q.app || sight.app?.name === q.app) &&
    (!q.session || sight.session === q.session) &&
    (!q.ip || q.ip.includes("/") || sight.ip === q.ip) &&
    (!q.triage || q.triage === "open")
  );
}
