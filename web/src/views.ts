import type { ComponentType } from "react";

/** A view is a file of views/ that exports Component. It is loaded when somebody goes there. */
type Load = () => Promise<{ Component: ComponentType }>;

export interface View {
  /** The path of react-router, without the leading slash; "" is the start. */
  path: string;
  load: Load;
  /** Set for views that the navigation lists, with the group they stand in. */
  nav?: { label: string; group: Group };
  /** The scope that the view's data need. Without it the navigation leaves the view out. */
  scope?: string;
}

/** The groups of the navigation, in their order. */
export const groups = ["Watch", "Investigate", "Tune", "Operate", "Administer"] as const;
export type Group = (typeof groups)[number];

/** views are all views there are. Add a line when a view lands; there are no links to views that are not here. */
export const views: View[] = [
  // Watch
  { path: "", load: () => import("./views/overview"), nav: { label: "Overview", group: "Watch" }, scope: "read" },
  { path: "live", load: () => import("./views/live"), nav: { label: "Live", group: "Watch" }, scope: "read" },
  { path: "map", load: () => import("./views/map"), nav: { label: "Map", group: "Watch" }, scope: "read" },
  { path: "step-ups", load: () => import("./views/step-ups"), nav: { label: "Step-ups", group: "Watch" }, scope: "read" },
  { path: "step-ups/:id", load: () => import("./views/step-up"), scope: "read" },
  // Investigate
  { path: "findings", load: () => import("./views/findings"), nav: { label: "Findings", group: "Investigate" }, scope: "read" },
  { path: "findings/:id", load: () => import("./views/finding"), scope: "read" },
  { path: "users", load: () => import("./views/users"), nav: { label: "Users", group: "Investigate" }, scope: "timeline" },
  { path: "users/:tenant/:user", load: () => import("./views/user"), scope: "timeline" },
  { path: "sessions/:tenant/:session", load: () => import("./views/session"), scope: "timeline" },
  {
    path: "networks",
    load: () => import("./views/network"),
    nav: { label: "Networks", group: "Investigate" },
    scope: "timeline",
  },
  { path: "apps", load: () => import("./views/apps"), nav: { label: "Apps", group: "Investigate" }, scope: "read" },
  { path: "apps/:tenant/:app", load: () => import("./views/app"), scope: "read" },

  // Tune
  { path: "rules", load: () => import("./views/rules"), nav: { label: "Rules", group: "Tune" }, scope: "read" },
  { path: "policies", load: () => import("./views/policies"), nav: { label: "Policies", group: "Tune" }, scope: "read" },
  { path: "backtests/:id", load: () => import("./views/backtest"), scope: "backtest" },

  // Operate
  { path: "sources", load: () => import("./views/sources"), nav: { label: "Sources", group: "Operate" }, scope: "read" },
  { path: "alerts", load: () => import("./views/alerts"), nav: { label: "Alerts", group: "Operate" }, scope: "operate" },
  { path: "streams", load: () => import("./views/streams"), nav: { label: "Streams", group: "Operate" }, scope: "operate" },
  {
    path: "deadletters",
    load: () => import("./views/deadletters"),
    nav: { label: "Dead letters", group: "Operate" },
    scope: "operate",
  },
  // Administer
  { path: "audit", load: () => import("./views/audit"), nav: { label: "Audit", group: "Administer" }, scope: "audit" },
  {
    path: "erasures",
    load: () => import("./views/erasures"),
    nav: { label: "Erasures", group: "Administer" },
    scope: "erase",
  },
  { path: "tokens", load: () => import("./views/tokens"), nav: { label: "API tokens", group: "Administer" }, scope: "admin" },
];
