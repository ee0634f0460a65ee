import { useSyncExternalStore } from "react";

/** Setting is something a viewer has chosen, of a few values. The browser keeps it. */
export interface Setting<T extends string> {
  get: () => T;
  set: (value: T) => void;
  use: () => T;
}

/** setting makes one with the values that it may have, of which the first holds until another is chosen. */
export function setting<T extends string>(name: string, values: readonly [T, ...T[]]): Setting<T> {
  const kept = `countersign.${name}`;
  const watchers = new Set<() => void>();
  let value = values[0];
  try {
    value = values.find(v => v === localStorage.getItem(kept)) ?? value;
  } catch {
    // A browser may keep nothing.
  }
  const get = () => value;
  const watch = (watcher: () => void) => {
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  };
  return {
    get,
    set(next) {
      value = next;
      try {
        localStorage.setItem(kept, next);
      } catch {
        // It holds until the page is left.
      }
      for (const watcher of watchers) watcher();
    },
    use: () => useSyncExternalStore(watch, get),
  };
}
