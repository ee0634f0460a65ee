import { expect, test } from "vitest";
import { matches, questionOf, readFilter } from "./matching";

const finding = {
  id: "f",
  detection: "LOC-01",
  disposition: "active",
  event_id: "e",
  severity: "high",
  summary: "",
  title: "",
  tenant: "acme",
  time: "2026-11-23T10:00:00Z",
  user: { id: "ada" },
  version: 1,
  evidence: { sight: { ip: "192.0.2.1", session: "s", place: { country: "NO" }, app: { id: "mail" } } },
};
const filter = (text: string) => readFilter(new URLSearchParams(text));

test("filters are read from the address, and what the API would refuse is left out", () => {
  const q = questionOf(
    filter("severity=high,<b>,critical&disposition=nonsense&detection=loc-01&country=no&triage=open&user=%20ada%20"),
  );
  expect(q).toMatchObject({
    severity: ["high", "critical"],
    disposition: undefined,
    detection: "LOC-01",
    country: "NO",
    triage: "open",
    user: "ada",
  });
  expect(questionOf(filter("")).severity).toBeUndefined();
});

test("what comes is counted when the list would show it", () => {
  expect(matches(finding, filter(""), undefined)).toBe(true);
  expect(matches(finding, filter("severity=high&user=ada&ip=192.0.2.1&app=mail&session=s&country=NO"), "acme")).toBe(true);
  for (const other of [
    "severity=low",
    "user=bob",
    "ip=192.0.2.2",
    "app=wiki",
    "session=x",
    "country=SE",
    "triage=acknowledged",
    "detection=NET-01",
  ]) {
    expect(matches(finding, filter(other), undefined), other).toBe(false);
  }
  expect(matches(finding, filter(""), "other")).toBe(false);
  expect(matches(finding, filter("ip=192.0.2.0/24"), undefined)).toBe(true);
});
