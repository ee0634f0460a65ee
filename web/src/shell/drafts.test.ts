import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { forget, keepTried, policyDraft, tried } from "./drafts";

beforeEach(() => {
  // A store as a browser's: its keys are its properties.
  const store: Record<string, unknown> = Object.create({
    getItem(this: Record<string, unknown>, name: string) {
      return this[name] ?? null;
    },
    setItem(this: Record<string, unknown>, name: string, value: string) {
      this[name] = value;
    },
    removeItem(this: Record<string, unknown>, name: string) {
      delete this[name];
    },
  });
  vi.stubGlobal("sessionStorage", store);
});
afterEach(() => vi.unstubAllGlobals());

test("a draft stays until it is dropped", () => {
  policyDraft.set("policies: []");
  expect(policyDraft.get()).toBe("policies: []");
  policyDraft.set(undefined);
  expect(policyDraft.get()).toBeUndefined();
});

test("what the newest backtests tried is kept, and all is forgotten at the end", () => {
  for (let i = 0; i < 12; i++) keepTried(`b${i}`, `text ${i}`);
  expect([3, 4, 11].map(i => tried(`b${i}`))).toEqual([undefined, "text 4", "text 11"]);
  forget();
  expect(tried("b11")).toBeUndefined();
});

test("without a store nothing breaks", () => {
  vi.stubGlobal("sessionStorage", undefined);
  policyDraft.set("x");
  keepTried("b", "x");
  forget();
  expect(policyDraft.get()).toBeUndefined();
});
