import { useQueryClient } from "@tanstack/react-query";
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

/** Feed is the one connection of this page. It opens with its first listener and is kept; the browser resumes it. */
class Feed {
  #source: EventSource | undefined;
  #handlers = new Map<LiveKind, Set<Handler>>(kinds.map(kind => [kind, new Set()]));
  #watchers = new Set<() => void>();
  #state: LiveState = "connecting";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #begun = false;
  #wasLive = false;

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

  #begin() {
    if (this.#begun) return;
    this.#begun = true;
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.#timer);
      if (document.hidden) {
        this.#timer = setTimeout(() => this.#close("quiet"), hiddenFor);
      } else if (!this.#source) {
        this.#open();
      }
    });
    signedOutStore.subscribe(() => (signedOutStore.get() ? this.#close("away") : this.#open()));
    this.#open();
  }

  #open() {
    if (this.#source || signedOutStore.get()) return;
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
      this.#timer = setTimeout(() => this.#open(), comeBack);
    };
    for (const kind of kinds) {
      source.addEventListener(kind, event => {
        let record: unknown;
        try {
          record = JSON.parse((event as MessageEvent<string>).data);
        } catch {
          return; // not ours
        }
        this.#tell(kind, record);
      });
    }
  }

  #close(state: LiveState) {
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

const refreshAfter = 3_000; // milliseconds

/** useLiveRefresh asks a question again when the feed brings one of the kinds, at most every 3 s, and after a reset. */
export function useLiveRefresh(wanted: LiveKind[], queryKey: readonly unknown[]): void {
  const client = useQueryClient();
  const list = wanted.join();
  useEffect(() => {
    if (!list) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = () => {
      timer = undefined;
      if (document.hidden) return;
      // A slow answer is waited for: asked anew all the time, it would never come.
      if (client.isFetching({ queryKey, exact: true }) > 0) soon();
      else client.invalidateQueries({ queryKey });
    };
    const soon = () => {
      timer ??= setTimeout(ask, refreshAfter);
    };
    const stop = [...(list.split(",") as LiveKind[]), "reset" as const].map(kind => feed.on(kind, soon));
    return () => {
      clearTimeout(timer);
      for (const end of stop) end();
    };
  }, [client, list, queryKey]);
}
