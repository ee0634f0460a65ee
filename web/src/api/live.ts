import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useSyncExternalStore } from "react";
import { type Schemas, signedOutStore } from "./client";

/** LiveRecords are what the live feed brings, by the names of its events. "reset" says that some were missed. */
export interface LiveRecords {
  finding: Schemas["Finding"];
  requirement: Schemas["Requirement"];
  receipt: Schemas["Receipt"];
  mark: Schemas["Mark"];
  reset: Record<string, never>;
}

export type LiveKind = keyof LiveRecords;

/** LiveState is "quiet" while the page is hidden: a browser has few connections for all its pages of one host. */
export type LiveState = "connecting" | "live" | "away" | "quiet";

const kinds: LiveKind[] = ["finding", "requirement", "receipt", "mark", "reset"];
const hiddenFor = 60_000; // milliseconds
const comeBack = 3_000; // milliseconds

type Handler = (record: never) => void;

const youngFor = 10_000; // milliseconds
const youngMost = 1_000;

/** Feed is the one connection of this page. It opens with its first listener and is kept; the browser resumes it. */
export class Feed {
  #source: EventSource | undefined;
  #handlers = new Map<LiveKind, Set<Handler>>(kinds.map(kind => [kind, new Set()]));
  #watchers = new Set<() => void>();
  #state: LiveState = "connecting";
  #hiding: ReturnType<typeof setTimeout> | undefined;
  #coming: ReturnType<typeof setTimeout> | undefined;
  #begun = false;
  #wasLive = false;
  #young = new Map<string, number>();

  state = () => this.#state;

  watch = (watcher: () => void) => {
    this.#begin();
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  };

  on<K extends LiveKind>(kind: K, handler: (record: LiveRecords[K]) => void): () => void {
    this.#begin();
    const handlers = this.#handlers.get(kind);
    handlers?.add(handler as Handler);
    return () => handlers?.delete(handler as Handler);
  }

  /** young tells whether the feed has brought a record of this id, or of this user, a moment ago: the history is behind it. */
  young(id: string): boolean {
    const came = this.#young.get(id);
    return came !== undefined && Date.now() - came < youngFor;
  }

  #begin() {
    if (this.#begun) return;
    this.#begun = true;
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.#hiding);
      if (document.hidden) {
        this.#hiding = setTimeout(() => document.hidden && this.#close("quiet"), hiddenFor);
      } else {
        this.#open();
      }
    });
    signedOutStore.subscribe(() => (signedOutStore.get() ? this.#close("away") : this.#open()));
    this.#open();
  }

  #open() {
    if (this.#source || signedOutStore.get()) return;
    clearTimeout(this.#coming);
    this.#set("connecting");
    const source = new EventSource("/v1/live");
    this.#source = source;
    source.onopen = () => {
      this.#set("live");
      // A connection of our own making does not resume: whoever shows something asks for it anew.
      if (this.#wasLive) this.#tell("reset", {});
      this.#wasLive = true;
    };
    source.onerror = () => {
      this.#set("away");
      if (source.readyState !== EventSource.CLOSED) {
        this.#wasLive = false; // the browser comes back with Last-Event-ID, and the server says what was missed
        return;
      }
      this.#close("away");
      this.#wasLive = true;
      this.#coming = setTimeout(() => this.#open(), comeBack);
    };
    for (const kind of kinds) {
      source.addEventListener(kind, event => {
        let record: unknown;
        try {
          record = JSON.parse((event as MessageEvent<string>).data);
        } catch {
          return; // not ours
        }
        this.#remember(record as { id?: string; tenant?: string; user?: string | { id: string } });
        this.#tell(kind, record);
      });
    }
  }

  #remember({ id, tenant, user }: { id?: string; tenant?: string; user?: string | { id: string } }) {
    const names = [id, user && `${tenant}/${typeof user === "string" ? user : user.id}`];
    for (const name of names) {
      if (!name) continue;
      this.#young.delete(name); // the newest are last
      this.#young.set(name, Date.now());
    }
    for (const name of this.#young.keys()) {
      if (this.#young.size <= youngMost) break;
      this.#young.delete(name);
    }
  }

  #close(state: LiveState) {
    clearTimeout(this.#coming);
    this.#source?.close();
    this.#source = undefined;
    this.#set(state);
  }

  #tell(kind: LiveKind, record: unknown) {
    for (const handler of this.#handlers.get(kind) ?? []) handler(record as never);
  }

  #set(state: LiveState) {
    if (this.#state === state) return;
    this.#state = state;
    for (const watcher of this.#watchers) watcher();
  }
}

const feed = new Feed();

/** useLiveState says how the feed is. */
export function useLiveState(): LiveState {
  return useSyncExternalStore(feed.watch, feed.state);
}

/** useLive calls handler with every record of a kind, while the component is shown. */
export function useLive<K extends LiveKind>(kind: K, handler: (record: LiveRecords[K]) => void): void {
  const newest = useRef(handler);
  useEffect(() => {
    newest.current = handler;
  });
  useEffect(() => feed.on(kind, record => newest.current(record)), [kind]);
}

/** young tells whether the feed has brought this id, or this user as "tenant/id", a moment ago: the history may not have it yet. */
export const young = (id: string) => feed.young(id);

/**
 * Live says for which records of the feed a question is asked again: for all of a kind, or for those that a test takes,
 * which also sees what was answered. A page about one person must not ask again for others: what it reads is audited.
 */
export type Live<Answered = never> = {
  [K in Exclude<LiveKind, "reset">]?: true | ((record: LiveRecords[K], answer: Answered | undefined) => boolean);
};

/** ofUser takes what is about one user, of the kinds that are named. */
export function ofUser(tenant: string, user: string, ...kinds: Exclude<LiveKind, "reset">[]): Live<unknown> {
  const about = (record: LiveRecords[Exclude<LiveKind, "reset">]) =>
    record.tenant === tenant && (typeof record.user === "string" ? record.user : record.user.id) === user;
  return Object.fromEntries(kinds.map(kind => [kind, about]));
}

const refreshAfter = 3_000; // milliseconds

/** keepFresh asks a question again when the feed brings what it wants, at most every 3 s, and after a reset, until it is stopped. */
export function keepFresh(
  feed: Feed,
  client: Pick<QueryClient, "invalidateQueries" | "isFetching" | "getQueryData">,
  queryKey: readonly unknown[],
  kinds: Exclude<LiveKind, "reset">[],
  live: () => Live<unknown>,
): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const ask = () => {
    timer = undefined;
    // A hidden page asks when it is seen again.
    if (document.hidden) client.invalidateQueries({ queryKey, refetchType: "none" });
    // A slow answer is waited for: asked anew all the time, it would never come.
    else if (client.isFetching({ queryKey, exact: true }) > 0) soon();
    else client.invalidateQueries({ queryKey });
  };
  const soon = () => {
    timer ??= setTimeout(ask, refreshAfter);
  };
  const stop = kinds.map(kind =>
    feed.on(kind, record => {
      const wants = live()[kind] as true | ((record: unknown, answer: unknown) => boolean) | undefined;
      if (wants === true || wants?.(record, client.getQueryData(queryKey))) soon();
    }),
  );
  stop.push(feed.on("reset", soon));
  return () => {
    clearTimeout(timer);
    for (const end of stop) end();
  };
}

/** useLiveRefresh is keepFresh while the component is shown. */
export function useLiveRefresh(live: Live<unknown>, queryKey: readonly unknown[]): void {
  const client = useQueryClient();
  const newest = useRef(live);
  useEffect(() => {
    newest.current = live;
  });
  const list = Object.keys(live).join();
  useEffect(() => {
    if (!list) return;
    const kinds = list.split(",") as Exclude<LiveKind, "reset">[];
    return keepFresh(feed, client, queryKey, kinds, () => newest.current);
  }, [client, list, queryKey]);
}
