import { afterEach, expect, test } from "vitest";
import { arrived, changed } from "./search";

afterEach(arrived);

test("a change builds on those that are on their way", () => {
  const shown = new URLSearchParams("range=7d");
  changed(shown, next => next.set("user", "ada"));
  expect(changed(shown, next => next.set("severity", "high")).toString()).toBe("range=7d&user=ada&severity=high");
  expect(shown.toString()).toBe("range=7d");
});

test("when the address has arrived, what it shows counts", () => {
  changed(new URLSearchParams("a=1"), next => next.set("b", "2"));
  arrived();
  expect(changed(new URLSearchParams("c=3"), next => next.delete("c")).toString()).toBe("");
});
