// What views are made of; README.md shows how.
export * from "./act";
export * from "./badges";
export * from "./filters";
export * from "./finding-line";
export * from "./layout";
export * from "./link";
export * from "./states";
export * from "./table";
export * from "./text";
export * from "./time";
