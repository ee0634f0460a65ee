import { expect, test } from "vitest";
import { judged, matches } from "./rules";

test("a rule is found by any part of its id or title, whatever the case", () => {
  const rule = { detection: "LOC-01", title: "Impossible travel" };
  for (const typed of ["", "loc", "LOC-01", "travel", "01 imp"]) expect(matches(rule, typed)).toBe(true);
  for (const typed of ["LOC-02", "travels"]) expect(matches(rule, typed)).toBe(false);
});

test("a precision rests on what was called right or wrong alone", () => {
  expect(judged({ true_positive: 3, false_positive: 2 })).toBe(5);
});
