import { useEffect, useRef } from "react";
import { shortcuts } from "../../shell/shortcuts";

type Keys = Record<string, (event: KeyboardEvent) => void>;

/** typing tells a place where letters are text, not commands. */
export function typing(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("input:not([type=checkbox], [type=radio]), select, textarea"))
  );
}

/**
 * useKeys binds single letters while the component is shown. They do nothing while somebody types or a dialog is open, or
 * when the settings say that letters are no commands.
 */
export function useKeys(keys: Keys): void {
  const newest = useRef(keys);
  useEffect(() => {
    newest.current = keys;
  });
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented || event.isComposing) return;
      if (shortcuts.get() === "off") return;
      if (typing(event.target) || document.querySelector("dialog[open]")) return;
      const run = newest.current[event.key];
      if (!run) return;
      event.preventDefault();
      run(event);
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
}
