import { type KeyboardEvent, type ReactNode, useCallback, useState } from "react";

export interface Column<Row> {
  /** Names the column; unique. */
  name: string;
  cell: (row: Row) => ReactNode;
  /** Numbers stand on the right. */
  numeric?: boolean;
  /** The parameter by which the API sorts, where it does. */
  sort?: string;
  /** Left out in narrow windows. */
  minor?: boolean;
  /** Keeps the column as narrow as its content. */
  tight?: boolean;
}

/**
 * Table shows rows. In narrow windows each row is a block with named values. ArrowUp and ArrowDown go from row to row:
 * to the first link or button of each.
 */
export function Table<Row>({
  caption,
  columns,
  rows,
  rowKey,
  sort,
  onSort,
  rowClass,
  empty,
  small = false,
}: {
  /** Says what the table holds; for screen readers. */
  caption: string;
  columns: Column<Row>[];
  rows: Row[];
  rowKey: (row: Row) => string;
  /** The column that the rows are sorted by now, and what to do for another. */
  sort?: string;
  onSort?: (sort: string) => void;
  rowClass?: (row: Row) => string | undefined;
  /** Shown in place of no rows: an <Empty>. */
  empty?: ReactNode;
  /** For a table of few narrow columns, which stays one in narrow windows. */
  small?: boolean;
}) {
  const [frame, scrolls] = useScrolls();
  if (rows.length === 0 && empty) return empty;
  const cellClass = (c: Column<Row>) =>
    [c.numeric && "numeric", c.minor && "minor", c.tight && "tight"].filter(Boolean).join(" ") || undefined;
  // The roles are said because a table that is laid out as blocks is none to a browser.
  return (
    <div ref={frame} className={small ? "table-frame small" : "table-frame"} tabIndex={scrolls ? 0 : undefined}>
      <table role="table" onKeyDown={step}>
        <caption className="visually-hidden">{caption}</caption>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map(c => (
              <th
                key={c.name}
                role="columnheader"
                scope="col"
                className={cellClass(c)}
                aria-sort={c.sort && c.sort === sort ? "descending" : undefined}
              >
                {c.sort && onSort ? (
                  <button type="button" className="sort" onClick={() => onSort(c.sort as string)}>
                    {c.name} <span aria-hidden="true">{c.sort === sort ? "▾" : "▿"}</span>
                  </button>
                ) : (
                  c.name
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map(row => (
            <tr key={rowKey(row)} role="row" className={rowClass?.(row)}>
              {columns.map(c => (
                <td key={c.name} role="cell" data-label={c.name} className={cellClass(c)}>
                  {c.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** useScrolls tells whether an element has more in it than it shows. */
function useScrolls() {
  const [scrolls, setScrolls] = useState(false);
  const ref = useCallback((element: HTMLDivElement | null) => {
    if (!element) return;
    const observer = new ResizeObserver(() => {
      setScrolls(element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1);
    });
    observer.observe(element);
    if (element.firstElementChild) observer.observe(element.firstElementChild);
    return () => observer.disconnect();
  }, []);
  return [ref, scrolls] as const;
}

/** step moves the focus between rows. */
function step(event: KeyboardEvent<HTMLTableElement>) {
  if ((event.key !== "ArrowDown" && event.key !== "ArrowUp") || event.altKey || event.ctrlKey || event.metaKey) return;
  const at = event.target as HTMLElement;
  if (at.matches("input, select, textarea")) return;
  let row = at.closest("tr");
  while (row) {
    row = (event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling) as HTMLTableRowElement | null;
    const target = row?.querySelector<HTMLElement>("a[href], button");
    if (target) {
      event.preventDefault();
      target.focus();
      return;
    }
  }
}
