import { readFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";
import { expect, test } from "vitest";

// What `npm run generate` makes of the API's description is committed; this one says when it is old.
test("the types are those of openapi.json", async () => {
  const ast = await openapiTS(readFileSync(new URL("../../openapi.json", import.meta.url), "utf8"));
  const kept = readFileSync(new URL("./schema.d.ts", import.meta.url), "utf8");
  const made = astToString(ast);
  expect(kept.slice(kept.indexOf("export interface paths")), "run `make generate`").toBe(
    made.slice(made.indexOf("export interface paths")),
  );
});
