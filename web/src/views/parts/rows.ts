import type { RefObject } from "react";

/** The link of a row that the focus goes to. */
const lead = "a[data-lead], .lead-link a, a[href]";

/** rowOf is the row that has the focus. */
export function rowOf(frame: RefObject<HTMLElement | null>): HTMLTableRowElement | null {
  const at = document.activeElement;
  return at instanceof HTMLElement && frame.current?.contains(at) ? at.closest("tbody tr") : null;
}

/** stepRow moves the focus to the row below or above, or to the first. */
export function stepRow(frame: RefObject<HTMLElement | null>, by: 1 | -1): void {
  const rows = [...(frame.current?.querySelectorAll<HTMLTableRowElement>("tbody tr") ?? [])];
  if (rows.length === 0) return;
  const row = rowOf(frame);
  const at = row ? rows.indexOf(row) : by > 0 ? -1 : rows.length;
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  const target = next?.querySelector<HTMLElement>(".lead-link a") ?? next?.querySelector<HTMLElement>(lead);
  target?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "nearest" });
}
