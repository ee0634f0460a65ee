import { expect, test } from "vitest";
import { lacking } from "./arrivals";

const at = (minute: number) => `2026-11-23T22:${String(minute).padStart(2, "0")}:00Z`;
const rows = [
  { id: "c", time: at(30) },
  { id: "b", time: at(20) },
];

test("what arrived and is not in the list is lacking until the list has it", () => {
  const arrived = new Map([
    ["c", at(30)],
    ["d", at(40)],
  ]);
  expect(lacking(arrived, rows, false)).toEqual(["d"]);
  expect(lacking(arrived, [{ id: "d", time: at(40) }, ...rows], false)).toEqual([]);
  expect(lacking(arrived, [], false)).toEqual(["c", "d"]);
});

test("what is older than a list that goes on is on a later page", () => {
  const arrived = new Map([["a", at(10)]]);
  expect(lacking(arrived, rows, true)).toEqual([]);
  expect(lacking(arrived, rows, false)).toEqual(["a"]);
});
