import { expect, test } from "vitest";
import { codepoint, parts, plain } from "./text";

test("an ordinary name stays as it is", () => {
  for (const name of ["Zoë O’Hara", "محمد", "李雷", "👩‍👩‍👧", "می‌خواهم", "<b>bold</b>"])
    expect(parts(name)).toEqual([{ text: name }]);
});

test("what is not seen is named", () => {
  expect(parts("exe\u202Egpj.a")).toEqual([{ text: "exe" }, { hidden: "U+202E" }, { text: "gpj.a" }]);
  for (const c of ["\u0000", "\u001b", "\n", "\u200b", "\u2066", "\u2069", "\ufeff", "\u{e0041}", "\u0085"]) {
    expect(parts(c)).toEqual([{ hidden: codepoint(c) }]);
  }
  expect(codepoint("\u{e0041}")).toBe("U+E0041");
});

test("a long text is cut, not inside a character", () => {
  expect(parts("x".repeat(1000), 10)).toEqual([{ text: `${"x".repeat(10)}…` }]);
  expect(parts(`${"x".repeat(9)}😀😀`, 10)).toEqual([{ text: `${"x".repeat(9)}…` }]);
});

test("a text for a label is isolated from what stands around it", () => {
  expect(plain("a\u202eb")).toBe("\u2068a⟨U+202E⟩b\u2069");
});
