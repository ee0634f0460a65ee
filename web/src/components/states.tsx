import { type ReactNode, useEffect, useRef, useState } from "react";
import { Problem } from "../api/client";

/** Loading says that something is on its way; it shows after a moment, so that quick answers do not flicker. */
export function Loading({ what = "Loading" }: { what?: string }) {
  return (
    <p className="loading" role="status">
      {what}…
    </p>
  );
}

/** Empty says that there is nothing and what to do about it. */
export function Empty({ children }: { children: ReactNode }) {
  return <div className="empty">{children}</div>;
}

const advice: Record<number, string> = {
  0: "Look whether the api still runs; this page comes back by itself.",
  403: "Ask an administrator for a token or a role that may.",
  404: "It may have been deleted, be of another tenant, or be older than what is kept.",
  422: "Ask for a shorter time, or filter more.",
  429: "This page asks again by itself.",
  503: "This page asks again by itself.",
};

/** What to say of a 503 whose kind the API names. */
const adviceOf: Record<string, string> = {
  "history-away": "Sign-ins are still watched and challenged. This page asks again by itself.",
  "log-away": "Nothing is shown or done that the log cannot record. Applications go on with what they know.",
};

const titles: Record<number, string> = { 0: "No answer", 403: "Not yours to see", 404: "Not found", 503: "Not available now" };

/** ErrorNote says what went wrong and what to do. Give it `retry` where asking again may help. */
export function ErrorNote({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = error instanceof Problem ? error : undefined;
  const title = problem?.title ?? titles[problem?.status ?? -1] ?? "That did not work";
  return (
    <div className="error-note" role={problem?.passes ? "status" : "alert"}>
      <strong>{title}.</strong> {problem?.detail ?? (error instanceof Error ? error.message : String(error))}
      {problem && problem.fields.length > 0 && (
        <ul>
          {problem.fields.map(field => (
            <li key={field.location + field.message}>
              <code>{field.location}</code> {field.message}
            </li>
          ))}
        </ul>
      )}
      <div className="error-advice">
        {problem
          ? (adviceOf[problem.kind ?? ""] ?? advice[problem.status])
          : "Reload the page; if it stays, the browser's console says more."}
        {retry && (
          <button type="button" className="quiet" onClick={retry}>
            Try now
          </button>
        )}
      </div>
    </div>
  );
}

/** What <Answered> needs of a query. */
export interface Asked<T> {
  data: T | undefined;
  error: Error | null;
  isPlaceholderData?: boolean;
  refetch: () => unknown;
}

/**
 * Answered shows what a question brought: its answer, why there is none, or that it is on its way. An answer stays while
 * a newer one is away, with a note.
 */
export function Answered<T>({
  query,
  loading,
  children,
}: {
  query: Asked<T>;
  loading?: string;
  children: (data: T) => ReactNode;
}) {
  // While a question is asked again after a problem, the problem stays on the page.
  const problem = useRef<Error | null>(null);
  if (query.error) problem.current = query.error;
  else if (query.data !== undefined && !query.isPlaceholderData) problem.current = null;
  const retry = () => void query.refetch();
  if (query.data === undefined) {
    return problem.current ? <ErrorNote error={problem.current} retry={retry} /> : <Loading what={loading} />;
  }
  return (
    <div className={query.isPlaceholderData ? "answer stale" : "answer"} aria-busy={query.isPlaceholderData || undefined}>
      {query.error && <ErrorNote error={query.error} retry={retry} />}
      {children(query.data)}
    </div>
  );
}

/** More asks for the next page of a list. */
export function More({
  query,
  what = "Show older ones",
}: {
  query: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => unknown };
  what?: string;
}) {
  if (!query.hasNextPage) return null;
  return (
    <p className="more">
      <button type="button" className="quiet" disabled={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
        {query.isFetchingNextPage ? "Loading…" : what}
      </button>
    </p>
  );
}

/** Saved says for a moment that an action was done, to screen readers too. */
export function Saved({ what, at }: { what: string; at: number }) {
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (!at) return;
    setShown(true);
    const timer = setTimeout(() => setShown(false), 4000);
    return () => clearTimeout(timer);
  }, [at]);
  return (
    <span className="saved" role="status">
      {shown ? what : ""}
    </span>
  );
}
