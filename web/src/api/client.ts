import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

/** The records and answers of the API, by their names in its OpenAPI document. */
export type Schemas = components["schemas"];

/** Problem is an answer that is no success: problem details (RFC 9457), or no answer at all (status 0). */
export class Problem extends Error {
  readonly status: number;
  readonly detail: string;
  /** Of what kind it is, for what the API names: "history-away", "busy" and others, see docs/api.md. */
  readonly kind: string | undefined;
  /** The API's short words for that kind. */
  readonly title: string | undefined;
  /** What is wrong with single fields. */
  readonly fields: { location: string; message: string }[];
  /** Seconds after which to ask again, for a state that passes by itself. */
  readonly retryAfter: number | undefined;

  constructor(
    status: number,
    detail: string,
    options: { kind?: string; title?: string; fields?: Problem["fields"]; retryAfter?: number } = {},
  ) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.detail = detail;
    this.kind = options.kind;
    this.title = options.title;
    this.fields = options.fields ?? [];
    this.retryAfter = options.retryAfter;
  }

  /** passes tells whether the same question may be answered later. */
  get passes(): boolean {
    return this.status === 0 || this.status === 429 || this.status === 503;
  }
}

const kinds = "urn:countersign:problem:";

/** problemOf reads an answer that is no success. body is its JSON, if it had one. */
export function problemOf(response: Pick<Response, "status" | "headers">, body: unknown): Problem {
  const said = (typeof body === "object" && body !== null ? body : {}) as Partial<Schemas["ErrorModel"]>;
  const seconds = Number(response.headers.get("Retry-After"));
  const kind = said.type?.startsWith(kinds) ? said.type.slice(kinds.length) : undefined;
  return new Problem(response.status, said.detail || said.title || `The server answered ${response.status}.`, {
    kind,
    title: kind && said.title,
    fields: (said.errors ?? []).map(e => ({ location: e.location ?? "", message: e.message ?? "" })),
    retryAfter: Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 300) : undefined,
  });
}

// Whoever shows the sign-in page listens here.
let signedOut = false;
const watchers = new Set<() => void>();

export const signedOutStore = {
  get: () => signedOut,
  set(value: boolean) {
    if (signedOut === value) return;
    signedOut = value;
    for (const watcher of watchers) watcher();
  },
  subscribe(watcher: () => void) {
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  },
};

/** api calls the API with the types of its OpenAPI document. Use `unwrap` on what it returns. */
export const api = createClient<paths>({
  baseUrl: typeof location === "undefined" ? "http://localhost" : location.origin,
  headers: { Accept: "application/json" },
  querySerializer: { array: { style: "form", explode: false } },
});

api.use({
  onResponse({ response }) {
    if (response.status === 401) signedOutStore.set(true);
  },
});

/** unwrap returns what a call answered, or throws a Problem. */
export async function unwrap<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  let answer: Awaited<typeof call>;
  try {
    answer = await call;
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new Problem(0, "countersign does not answer. It may be restarting, or the network is away.", { retryAfter: 5 });
  }
  if (!answer.response.ok) throw problemOf(answer.response, answer.error);
  return answer.data as T;
}
