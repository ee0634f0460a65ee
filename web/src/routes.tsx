import type { RouteObject } from "react-router";
import { NotFound } from "./shell/not-found";
import { scoped } from "./shell/scoped";
import { Broken, Shell } from "./shell/shell";
import { views } from "./views";

/** routes of the app: the shell around every view, and around what went wrong in one. */
export const routes: RouteObject[] = [
  {
    path: "/",
    element: <Shell />,
    errorElement: <Broken />,
    hydrateFallbackElement: <></>,
    children: [
      {
        errorElement: <Broken />,
        children: [
          ...views.map(view =>
            view.path === "" ? { index: true as const, lazy: scoped(view) } : { path: view.path, lazy: scoped(view) },
          ),
          { path: "*", element: <NotFound /> },
        ],
      },
    ],
  },
];
