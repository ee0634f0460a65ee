import { QueryClient, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import type { PathsWithMethod } from "openapi-typescript-helpers";
import { useMemo } from "react";
import type { Span } from "../shell/span";
import { api, Problem, unwrap } from "./client";
import { type Live, useLiveRefresh, young } from "./live";
import type { paths } from "./schema";

/** GetPath is an operation that answers a question. */
export type GetPath = PathsWithMethod<paths, "get">;

/** Answer is what a path answers. */
export type Answer<P extends GetPath> = paths[P] extends {
  get: { responses: { 200: { content: { "application/json": infer Body } } } };
}
  ? Body
  : never;

type Parameters<P extends GetPath> = paths[P] extends { get: { parameters: infer All } }
  ? Pick<All, Extract<keyof All, "path" | "query">>
  : never;

export interface GetOptions<Answered = never> {
  /** Adds from, to and tenant of the header's pickers, as they are when the question is asked. */
  span?: Span;
  /** Asks again, at most every 3 s, when the live feed brings one of these. */
  live?: Live<Answered>;
  /** Asks again this often while the page is visible, in milliseconds; false is never. */
  every?: number | ((answer: Answered | undefined) => number | false);
  /** What the question is about, by its id or as "tenant/user": when the live feed has just brought it, the history may be behind. */
  about?: string;
  /** Asks only when true. */
  enabled?: boolean;
}

/** queries holds what was answered. A problem that passes by itself is asked again after its Retry-After. */
export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      gcTime: 5 * 60_000,
      refetchOnWindowFocus: true,
      retry: false,
    },
  },
});

function again<A>(error: Error | null, every: GetOptions<A>["every"], answer: A | undefined): number | false {
  if (error instanceof Problem && error.passes) return (error.retryAfter ?? 5) * 1000;
  return (typeof every === "function" ? every(answer) : every) ?? false;
}

/** behind tells whether what is not there may come yet. */
const behind = (error: Error, about: string | undefined) =>
  error instanceof Problem && error.status === 404 && about !== undefined && young(about);

/** spanOf is what a question takes of the span: a path that names its tenant takes the time alone. */
function spanOf(params: object, span: Span | undefined): Record<string, string> {
  const asked: Record<string, string> = { ...span?.query() };
  const { path } = params as { path?: object };
  if (asked.tenant === undefined || (path && "tenant" in path)) delete asked.tenant;
  return asked;
}

function initOf(params: object, more: Record<string, string>) {
  const { path, query } = params as { path?: object; query?: object };
  return { path, query: { ...query, ...more } };
}

/** useKey names a question. It is the same array as long as the question is the same. */
function useKey(path: string, params: object, span: Span | undefined, kind: string) {
  const text = JSON.stringify(params);
  const within = span?.key;
  return useMemo(() => [path, JSON.parse(text), within, kind] as const, [path, text, within, kind]);
}

/** An answer stays while the next is on its way, but never that of another thing: only filters and the span may differ. */
function sameThing(key: readonly unknown[], before: readonly unknown[] | undefined): boolean {
  const pathOf = (k: readonly unknown[]) => JSON.stringify([k[0], (k[1] as { path?: object }).path]);
  return before !== undefined && pathOf(key) === pathOf(before);
}

const call = api.GET as unknown as (
  path: string,
  init: object,
) => Promise<{ data?: unknown; error?: unknown; response: Response }>;

/**
 * useGet asks one question: useGet("/v1/overview", {}, { span }). Show it with <Answered>. A path that names its tenant
 * takes the time of the span alone.
 */
export function useGet<P extends GetPath>(path: P, params: Parameters<P>, options: GetOptions<Answer<P>> = {}) {
  const { span, live = {}, every, about, enabled = true } = options;
  const key = useKey(path, params, span, "one");
  useLiveRefresh(live as Live<unknown>, key);
  return useQuery<Answer<P>, Error, Answer<P>, typeof key>({
    queryKey: key,
    queryFn: ({ signal }) => unwrap(call(path, { params: initOf(params, spanOf(params, span)), signal })) as Promise<Answer<P>>,
    enabled,
    placeholderData: (data, query) => (sameThing(key, query?.queryKey) ? data : undefined),
    refetchInterval: query => again(query.state.error, every, query.state.data),
    retry: (tries, error) => tries < 10 && behind(error, about),
    retryDelay: 1_000,
  });
}

/**
 * usePages reads a list page by page: usePages("/v1/findings", { query }, page => page.findings, { span }). All pages are
 * of the span of the first, so that nothing is shown twice or left out.
 */
export function usePages<P extends GetPath, Row>(
  path: P,
  params: Parameters<P>,
  rowsOf: (page: Answer<P>) => Row[] | null | undefined,
  options: Omit<GetOptions, "about"> = {},
) {
  const { span, live = {}, every, enabled = true } = options;
  const key = useKey(path, params, span, "pages");
  useLiveRefresh(live as Live<unknown>, key);
  const query = useInfiniteQuery({
    queryKey: key,
    initialPageParam: undefined as { cursor: string; asked: Record<string, string> } | undefined,
    queryFn: async ({ pageParam, signal }) => {
      const asked = pageParam?.asked ?? spanOf(params, span);
      const init = initOf(params, pageParam ? { ...asked, cursor: pageParam.cursor } : asked);
      return { body: (await unwrap(call(path, { params: init, signal }))) as Answer<P>, asked };
    },
    getNextPageParam: last => {
      const cursor = (last.body as { next_cursor?: string }).next_cursor;
      return cursor ? { cursor, asked: last.asked } : undefined;
    },
    enabled,
    placeholderData: (data, query) => (sameThing(key, query?.queryKey) ? data : undefined),
    refetchInterval: query => again(query.state.error, every, undefined),
  });
  const pages = query.data?.pages;
  // biome-ignore lint/correctness/useExhaustiveDependencies: rowsOf is the same question in another closure
  const rows = useMemo(() => pages?.flatMap(page => rowsOf(page.body) ?? []), [pages]);
  return { ...query, rows };
}

/** useRefresh returns a function that asks all questions below the paths again, for after an action. */
export function useRefresh() {
  const client = useQueryClient();
  return (...pathsAsked: GetPath[]) =>
    client.invalidateQueries({ predicate: query => pathsAsked.includes(query.queryKey[0] as GetPath) });
}
