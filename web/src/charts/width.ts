import { type RefObject, useLayoutEffect, useRef, useState } from "react";

/** useWidth measures an element as long as it is shown: charts are drawn to their room, in CSS pixels. */
export function useWidth<E extends HTMLElement>(initial = 800): [RefObject<E | null>, number] {
  const ref = useRef<E>(null);
  const [width, setWidth] = useState(initial);
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    setWidth(Math.max(200, Math.floor(element.clientWidth)));
    const observer = new ResizeObserver(([entry]) => {
      if (entry) setWidth(Math.max(200, Math.floor(entry.contentRect.width)));
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}
