import type { LiveRecords } from "../api/live";

/** Entry is one line of the live feed. */
export type Entry =
  | { kind: "finding"; key: string; record: LiveRecords["finding"] }
  | { kind: "requirement"; key: string; record: LiveRecords["requirement"] }
  | { kind: "receipt"; key: string; record: LiveRecords["receipt"] }
  | { kind: "mark"; key: string; record: LiveRecords["mark"] };

/** keepEntries is how many entries the feed holds, so that a page that is open all day stays light. */
export const keepEntries = 200;

/** added puts an entry first. A record that comes again, such as a requirement that was satisfied, is another entry. */
export function added(entries: Entry[], entry: Entry): Entry[] {
  if (entries.some(e => e.key === entry.key)) return entries;
  return [entry, ...entries].slice(0, keepEntries);
}

export interface FeedFilter {
  /** Kinds and severities to show; empty is all. */
  kinds: string[];
  severities: string[];
  /** Part of a name or an id. */
  person: string;
  tenant: string | undefined;
}

/** shows tells whether an entry passes the filter. */
export function shows(filter: FeedFilter, entry: Entry): boolean {
  if (filter.kinds.length > 0 && !filter.kinds.includes(entry.kind)) return false;
  if (filter.tenant && entry.record.tenant !== filter.tenant) return false;
  if (filter.severities.length > 0 && !("severity" in entry.record && filter.severities.includes(entry.record.severity)))
    return false;
  if (!filter.person) return true;
  const user = entry.record.user;
  const names = typeof user === "string" ? [user] : [user.id, user.name ?? ""];
  return names.some(name => name.toLowerCase().includes(filter.person.toLowerCase()));
}
