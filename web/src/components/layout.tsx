import { type ReactNode, type Ref, useEffect, useId } from "react";

/** Page is a view: its title is the h1 and the tab's. */
export function Page({
  title,
  lead,
  actions,
  children,
}: {
  title: string;
  lead?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}) {
  useEffect(() => {
    document.title = `${title} · countersign`;
  }, [title]);
  return (
    <div className="page">
      <div className="page-head">
        <h1 tabIndex={-1}>{title}</h1>
        {actions && <div className="page-actions">{actions}</div>}
        {lead && <div className="lead">{lead}</div>}
      </div>
      {children}
    </div>
  );
}

/** Panel is a titled part of a page. */
export function Panel({
  title,
  note,
  actions,
  children,
  className = "",
  heading,
}: {
  title: string;
  /** Said beside the title, softly. */
  note?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  className?: string;
  /** For a panel whose title takes the focus when it opens. */
  heading?: Ref<HTMLHeadingElement>;
}) {
  const id = useId();
  return (
    <section className={`panel ${className}`} aria-labelledby={id}>
      <div className="panel-head">
        <h2 id={id} ref={heading} tabIndex={heading ? -1 : undefined}>
          {title}
        </h2>
        {note && <span className="panel-note">{note}</span>}
        {actions && <div className="panel-actions">{actions}</div>}
      </div>
      {children}
    </section>
  );
}

/** Facts is a list of names and values; values that are empty are left out. */
export function Facts({ of }: { of: [name: string, value: ReactNode][] }) {
  const shown = of.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  return (
    <dl className="facts">
      {shown.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Json shows a record as it is, folded. */
export function Json({ value, title = "The record" }: { value: unknown; title?: string }) {
  return (
    <details className="json">
      <summary>{title}</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>{JSON.stringify(value, null, 2)}</pre>
    </details>
  );
}
