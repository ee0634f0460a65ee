import { expect, test } from "vitest";
import { country, place } from "./places";

test("countries have names, and what is no code stays", () => {
  expect(country("DE")).toBe("Germany");
  expect(country("<b>")).toBe("<b>");
  expect(country("")).toBe("");
});

test("a place is as precise as is known", () => {
  expect(place({ city: "Berlin", country: "DE" })).toBe("Berlin, Germany");
  expect(place({ country: "DE" })).toBe("Germany");
  expect(place(undefined)).toBe("an unknown place");
});
