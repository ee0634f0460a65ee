import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";

const kept = "countersign.theme";
const watchers = new Set<() => void>();

function read(): Theme {
  try {
    const value = localStorage.getItem(kept);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}
let theme: Theme = read();

/** applyTheme puts the theme on the document, where the style sheets look for it. */
export function applyTheme(): void {
  document.documentElement.dataset.theme = theme;
}

export function setTheme(next: Theme): void {
  theme = next;
  try {
    localStorage.setItem(kept, next);
  } catch {
    // not kept then
  }
  applyTheme();
  for (const watcher of watchers) watcher();
}

export function useTheme(): Theme {
  return useSyncExternalStore(
    watcher => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => theme,
  );
}
