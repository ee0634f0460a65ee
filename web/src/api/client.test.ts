import { expect, test } from "vitest";
import { pathOf } from "../components/link";
import { Problem, problemOf, unwrap } from "./client";

const answer = (status: number, headers: Record<string, string> = {}) => ({ status, headers: new Headers(headers) });

test("a problem says what the server said", () => {
  const problem = problemOf(answer(503, { "Retry-After": "5" }), {
    type: "urn:countersign:problem:history-away",
    title: "The history is away",
    detail: "It is not available now.",
  });
  expect(problem).toMatchObject({
    status: 503,
    kind: "history-away",
    title: "The history is away",
    detail: "It is not available now.",
    retryAfter: 5,
    passes: true,
  });
  const refused = problemOf(answer(422), {
    detail: "validation failed",
    errors: [{ location: "query.from", message: "too early" }],
  });
  expect(refused.fields).toEqual([{ location: "query.from", message: "too early" }]);
  expect(refused.passes).toBe(false);
});

test("an answer that is no problem document is told too", () => {
  expect(problemOf(answer(502), "<html>").detail).toBe("The server answered 502.");
  const proxys = problemOf(answer(503), { type: "https://proxy.example/away", title: "Away", detail: "Not now." });
  expect(proxys).toMatchObject({ kind: undefined, title: undefined, detail: "Not now." });
  expect(problemOf(answer(429, { "Retry-After": "soon" }), null).retryAfter).toBeUndefined();
  expect(problemOf(answer(503, { "Retry-After": "999999" }), null).retryAfter).toBe(300);
});

test("no answer at all is a problem that passes", async () => {
  const error = await unwrap(Promise.reject(new TypeError("Failed to fetch"))).catch(e => e);
  expect(error).toBeInstanceOf(Problem);
  expect(error.passes).toBe(true);
});

test("names from outside are one segment of a path, or none", () => {
  expect(pathOf("users", "acme", "a/b?c#d%2e")).toBe("/users/acme/a%2Fb%3Fc%23d%252e");
  expect(pathOf("users", "acme", "..")).toBeUndefined();
  expect(pathOf("users", "", "x")).toBeUndefined();
});
