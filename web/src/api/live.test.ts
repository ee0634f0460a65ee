import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Feed, keepFresh, type Live, ofUser } from "./live";

// A browser's connection and page, as far as the feed looks at them.
class Source {
  static CLOSED = 2;
  static all: Source[] = [];
  readyState = 0;
  onopen?: () => void;
  onerror?: () => void;
  #listeners = new Map<string, (event: { data: string }) => void>();
  constructor() {
    Source.all.push(this);
  }
  addEventListener(kind: string, listener: (event: { data: string }) => void) {
    this.#listeners.set(kind, listener);
  }
  close() {
    this.readyState = Source.CLOSED;
  }
  bring(kind: string, record: unknown) {
    this.#listeners.get(kind)?.({ data: JSON.stringify(record) });
  }
  refuse() {
    this.readyState = Source.CLOSED;
    this.onerror?.();
  }
}
const page = Object.assign(new EventTarget(), { hidden: false });
const turn = (hidden: boolean) => {
  page.hidden = hidden;
  page.dispatchEvent(new Event("visibilitychange"));
};
const newest = () => Source.all[Source.all.length - 1] as Source;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("EventSource", Source);
  vi.stubGlobal("document", page);
  Source.all = [];
  page.hidden = false;
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function started() {
  const feed = new Feed();
  feed.watch(() => {});
  newest().onopen?.();
  return feed;
}

test("the feed pauses a minute after the page was hidden, and goes on when it is seen", () => {
  const feed = started();
  turn(true);
  vi.advanceTimersByTime(59_000);
  expect(feed.state()).toBe("live");
  vi.advanceTimersByTime(2_000);
  expect(feed.state()).toBe("quiet");
  expect(newest().readyState).toBe(Source.CLOSED);
  vi.advanceTimersByTime(600_000);
  expect(Source.all).toHaveLength(1);
  turn(false);
  newest().onopen?.();
  expect(feed.state()).toBe("live");
});

test("a page that is seen again keeps its feed, though a connection was refused while it was hidden", () => {
  const feed = started();
  turn(true);
  newest().refuse();
  vi.advanceTimersByTime(10_000);
  newest().onopen?.();
  expect(Source.all).toHaveLength(2);
  turn(false);
  vi.advanceTimersByTime(120_000);
  expect(feed.state()).toBe("live");
  expect(newest().readyState).toBe(0);
});

test("a refused connection is tried again, by one attempt at a time", () => {
  const feed = started();
  newest().refuse();
  expect(feed.state()).toBe("away");
  turn(true);
  turn(false);
  vi.advanceTimersByTime(30_000);
  expect(Source.all).toHaveLength(2);
});

test("what came a moment ago is young, by its id and by its user", () => {
  const feed = started();
  newest().bring("finding", { id: "f1", tenant: "acme", user: { id: "ada" } });
  newest().bring("requirement", { id: "r1", tenant: "acme", user: "bob" });
  for (const id of ["f1", "r1", "acme/ada", "acme/bob"]) expect(feed.young(id)).toBe(true);
  expect(feed.young("f2")).toBe(false);
  vi.advanceTimersByTime(11_000);
  expect(feed.young("f1")).toBe(false);
});

function asking(live: Live<unknown>) {
  const feed = started();
  const client = { invalidateQueries: vi.fn(async () => {}), isFetching: vi.fn(() => 0), getQueryData: () => undefined };
  const kinds = Object.keys(live) as "finding"[];
  const stop = keepFresh(feed, client as never, ["key"], kinds, () => live);
  return { client, stop };
}

test("a page about one person is asked for again for that person only", () => {
  const { client, stop } = asking(ofUser("acme", "ada", "finding", "receipt"));
  newest().bring("finding", { id: "1", tenant: "acme", user: { id: "bob" } });
  newest().bring("finding", { id: "2", tenant: "globex", user: { id: "ada" } });
  newest().bring("receipt", { id: "3", tenant: "acme", user: "bob" });
  newest().bring("mark", { id: "4", tenant: "acme", user: "ada" });
  vi.advanceTimersByTime(60_000);
  expect(client.invalidateQueries).not.toHaveBeenCalled();
  newest().bring("finding", { id: "5", tenant: "acme", user: { id: "ada" } });
  newest().bring("receipt", { id: "6", tenant: "acme", user: "ada" });
  vi.advanceTimersByTime(60_000);
  expect(client.invalidateQueries.mock.calls).toEqual([[{ queryKey: ["key"] }]]);
  stop();
  newest().bring("finding", { id: "7", tenant: "acme", user: { id: "ada" } });
  vi.advanceTimersByTime(60_000);
  expect(client.invalidateQueries).toHaveBeenCalledTimes(1);
});

test("what comes while the page is hidden makes the answer stale, and a slow answer is waited for", () => {
  const { client } = asking({ finding: true });
  page.hidden = true;
  newest().bring("finding", { id: "1" });
  vi.advanceTimersByTime(4_000);
  expect(client.invalidateQueries.mock.calls).toEqual([[{ queryKey: ["key"], refetchType: "none" }]]);
  page.hidden = false;
  client.isFetching.mockReturnValue(1);
  newest().bring("reset", {});
  vi.advanceTimersByTime(30_000);
  expect(client.invalidateQueries).toHaveBeenCalledTimes(1);
  client.isFetching.mockReturnValue(0);
  vi.advanceTimersByTime(4_000);
  expect(client.invalidateQueries).toHaveBeenCalledTimes(2);
});
