import { expect, test } from "vitest";
import { keepSpan, parseSpan } from "./span";

const of = (text: string) => parseSpan(new URLSearchParams(text));

test("a preset ends now", () => {
  const span = of("range=7d&tenant=acme");
  const { from, to, tenant } = span.query();
  expect(Date.parse(to) - Date.parse(from)).toBe(7 * 86400_000);
  expect(Math.abs(Date.now() - Date.parse(to))).toBeLessThan(60_000);
  expect(tenant).toBe("acme");
});

test("what cannot be read is the last day", () => {
  for (const text of [
    "",
    "range=never",
    "range=constructor",
    "from=x&to=y",
    "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
  ]) {
    expect(of(text).preset).toBe("24h");
  }
});

test("a span of one's own stays", () => {
  const span = of("from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&range=7d");
  expect(span.preset).toBeUndefined();
  expect(span.query()).toMatchObject({ from: "2026-01-01T00:00:00.000Z", to: "2026-01-02T00:00:00.000Z" });
  expect(span.key).not.toBe(of("").key);
});

test("links keep the span and drop the filters of the view they leave", () => {
  const search = new URLSearchParams("range=7d&tenant=acme&severity=high&cursor=x");
  expect(keepSpan(search, { detection: "LOC-01", user: undefined })).toBe("?detection=LOC-01&range=7d&tenant=acme");
  expect(keepSpan(search, { tenant: "globex" })).toBe("?tenant=globex&range=7d");
  expect(keepSpan(new URLSearchParams(), { user: "a&b=c#d" })).toBe("?user=a%26b%3Dc%23d");
});
