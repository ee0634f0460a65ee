import { expect, test } from "vitest";
import { added, type Entry, keepEntries, shows } from "./feed";

const finding = (id: string, more: object = {}) =>
  ({
    kind: "finding",
    key: `finding/${id}`,
    record: { id, tenant: "acme", severity: "high", user: { id: "u-1", name: "Zoë" }, ...more },
  }) as unknown as Entry;
const receipt = { kind: "receipt", key: "receipt/1", record: { tenant: "acme", user: "u-2" } } as unknown as Entry;
const all = { kinds: [], severities: [], person: "", tenant: undefined };

test("the newest is first, nothing is there twice, and the oldest go", () => {
  let entries: Entry[] = [];
  for (let i = 0; i < keepEntries + 10; i++) entries = added(entries, finding(String(i)));
  expect(entries).toHaveLength(keepEntries);
  expect(entries[0]?.key).toBe(`finding/${keepEntries + 9}`);
  expect(added(entries, finding(String(keepEntries)))).toBe(entries);
});

test("filters hold together", () => {
  expect(shows(all, finding("1"))).toBe(true);
  expect(shows({ ...all, kinds: ["receipt"] }, finding("1"))).toBe(false);
  expect(shows({ ...all, severities: ["high", "critical"] }, finding("1"))).toBe(true);
  expect(shows({ ...all, severities: ["low"] }, finding("1"))).toBe(false);
  expect(shows({ ...all, severities: ["low"] }, receipt)).toBe(false);
  expect(shows({ ...all, person: "zo" }, finding("1"))).toBe(true);
  expect(shows({ ...all, person: "u-2" }, receipt)).toBe(true);
  expect(shows({ ...all, person: "u-3" }, receipt)).toBe(false);
  expect(shows({ ...all, tenant: "globex" }, finding("1"))).toBe(false);
});
