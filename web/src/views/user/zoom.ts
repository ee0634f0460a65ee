import { useCallback } from "react";
import { useSearch } from "../../shell/search";
import { spanNames, useSpan } from "../../shell/span";
import { type Bounds, type Extent, within } from "./lane-layout";

const longest = 400 * 86400_000; // what the API answers at once, unless its max_span says less

/** useZoom reads and sets the part of time that is shown: the from and to of the address, as the header's picker does. */
export function useZoom() {
  const span = useSpan();
  const [, change] = useSearch();
  const set = useCallback(
    (next: Extent | undefined) =>
      change(
        search => {
          for (const name of spanNames) if (name !== "tenant") search.delete(name);
          if (next) {
            search.set("from", new Date(next.from).toISOString());
            search.set("to", new Date(next.to).toISOString());
          }
        },
        { preventScrollReset: true },
      ),
    [change],
  );
  const bounds = (): Bounds => ({ to: Date.now() + 60_000, longest });
  return { span, set: (next: Extent) => set(within(next, bounds())), reset: () => set(undefined), bounds };
}
