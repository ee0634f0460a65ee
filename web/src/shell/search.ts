import { useCallback, useEffect } from "react";
import { type NavigateOptions, useLocation, useSearchParams } from "react-router";

// The address follows a change in a moment. What is changed meanwhile builds on the newest, not on what is still shown: a
// field that is left by a click on another filter changes both.
let pending: URLSearchParams | undefined;

/** changed is a query string with a change made to it, on top of those that are on their way. */
export function changed(shown: URLSearchParams, change: (next: URLSearchParams) => void): URLSearchParams {
  const next = new URLSearchParams(pending ?? shown);
  change(next);
  pending = next;
  return next;
}

/** arrived says that the address shows all that was changed. */
export function arrived(): void {
  pending = undefined;
}

/** useSearch is the query string of the address, and a function that changes some of it. */
export function useSearch(): [URLSearchParams, (change: (next: URLSearchParams) => void, options?: NavigateOptions) => void] {
  const [search, setSearch] = useSearchParams();
  const location = useLocation();
  // biome-ignore lint/correctness/useExhaustiveDependencies: every location is another
  useEffect(arrived, [location]);
  const set = useCallback(
    (change: (next: URLSearchParams) => void, options?: NavigateOptions) => setSearch(changed(search, change), options),
    [search, setSearch],
  );
  return [search, set];
}
