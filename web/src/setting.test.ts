import { afterEach, expect, test, vi } from "vitest";
import { setting } from "./setting";

afterEach(() => vi.unstubAllGlobals());

test("a setting is kept, and what is none of its values is not taken", () => {
  const store = new Map([["countersign.clock", "sundial"]]);
  vi.stubGlobal("localStorage", {
    getItem: (name: string) => store.get(name) ?? null,
    setItem: (name: string, value: string) => store.set(name, value),
  });
  const clock = setting("clock", ["local", "utc"]);
  expect(clock.get()).toBe("local");
  clock.set("utc");
  expect(store.get("countersign.clock")).toBe("utc");
  expect(setting("clock", ["local", "utc"]).get()).toBe("utc");
});

test("a browser that keeps nothing still takes it", () => {
  vi.stubGlobal("localStorage", undefined);
  const clock = setting("clock", ["local", "utc"]);
  clock.set("utc");
  expect(clock.get()).toBe("utc");
});
