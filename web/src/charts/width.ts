import { type RefCallback, useCallback, useState } from "react";

/** useWidth measures an element whenever one is shown: charts are drawn to their room, in CSS pixels. */
export function useWidth<E extends HTMLElement>(initial = 800): [RefCallback<E>, number] {
  const [width, setWidth] = useState(initial);
  const ref = useCallback((element: E | null) => {
    if (!element) return;
    const measure = (width: number) => setWidth(Math.max(200, Math.floor(width)));
    measure(element.clientWidth);
    const observer = new ResizeObserver(([entry]) => entry && measure(entry.contentRect.width));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}
