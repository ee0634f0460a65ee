// Charts: drawn to their room, with a table of the same numbers; README.md shows how.
export * from "./ranked";
export * from "./time-bars";
export { useWidth } from "./width";
