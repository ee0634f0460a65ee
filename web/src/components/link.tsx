import type { ReactNode } from "react";
import { Link, matchPath, useNavigate, useSearchParams } from "react-router";
import { keepSpan } from "../shell/span";
import { views } from "../views";
import { Code, Text } from "./text";

/** segment writes one part of a path. What a browser would take for "here" or "up" has no address. */
function segment(text: string): string | undefined {
  return text === "" || text === "." || text === ".." ? undefined : encodeURIComponent(text);
}

/** pathOf builds a path of parts from outside: pathOf("users", tenant, user). undefined when it has no address. */
export function pathOf(...partsOfPath: string[]): string | undefined {
  const written = partsOfPath.map(segment);
  return written.includes(undefined) ? undefined : `/${written.join("/")}`;
}

/** known tells whether a view has this path. */
function known(path: string): boolean {
  return views.some(view => matchPath(`/${view.path}`, path));
}

/** To links to another view and takes the time and the tenant along. Where there is no such view it is no link. */
export function To({
  path,
  query,
  hash,
  children,
  className,
  label,
}: {
  path: string | undefined;
  query?: Record<string, string | undefined>;
  /** The part of the page. */
  hash?: string;
  children: ReactNode;
  className?: string;
  label?: string;
}) {
  const [search] = useSearchParams();
  if (!path || !known(path)) return <span className={className}>{children}</span>;
  return (
    <Link to={{ pathname: path, search: keepSpan(search, query), hash }} className={className} aria-label={label}>
      {children}
    </Link>
  );
}

/** useGo leads to another view as To does, for what is no link. */
export function useGo() {
  const navigate = useNavigate();
  const [search] = useSearchParams();
  return (path: string | undefined) => {
    if (path) void navigate({ pathname: path, search: keepSpan(search) });
  };
}

/** UserLink shows a person by name and id, and leads to their page. */
export function UserLink({ tenant, user, name }: { tenant: string; user: string; name?: string }) {
  return (
    <To path={pathOf("users", tenant, user)} className="who">
      <Text value={name || user} limit={80} />
    </To>
  );
}

export function FindingLink({ id, children }: { id: string; children: ReactNode }) {
  return <To path={pathOf("findings", id)}>{children}</To>;
}

export function SessionLink({ tenant, session }: { tenant: string; session: string }) {
  return (
    <To path={pathOf("sessions", tenant, session)}>
      <Code value={session} limit={24} />
    </To>
  );
}

/** NetworkLink leads to everything that came from an address or a prefix. */
export function NetworkLink({ ip, prefix }: { ip?: string; prefix?: string }) {
  const shown = ip || prefix;
  if (!shown) return <span className="soft">–</span>;
  return (
    <To path="/networks" query={ip ? { ip } : { prefix }}>
      <Code value={shown} />
    </To>
  );
}

export function AppLink({ tenant, app, name }: { tenant: string; app: string; name?: string }) {
  return (
    <To path={pathOf("apps", tenant, app)}>
      <Text value={name || app} limit={80} />
    </To>
  );
}
