import { keepPreviousData, QueryClient, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import type { PathsWithMethod } from "openapi-typescript-helpers";
import { useMemo } from "react";
import type { Span } from "../shell/span";
import { api, Problem, unwrap } from "./client";
import { type LiveKind, useLiveRefresh } from "./live";
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

export interface GetOptions {
  /** Adds from, to and tenant of the header's pickers, as they are when the question is asked. */
  span?: Span;
  /** Asks again, at most every 3 s, when the live feed brings one of these. */
  live?: LiveKind[];
  /** Asks again this often while the page is visible, in milliseconds. */
  every?: number;
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
      placeholderData: keepPreviousData,
    },
  },
});

function again(error: Error | null, every: number | undefined): number | false {
  if (error instanceof Problem && error.passes) return (error.retryAfter ?? 5) * 1000;
  return every ?? false;
}

function withSpan<P extends GetPath>(params: Parameters<P>, span: Span | undefined, more: Record<string, unknown> = {}) {
  const all = params as { path?: Record<string, string>; query?: Record<string, unknown> };
  return { path: all.path, query: { ...all.query, ...span?.query(), ...more } };
}

const call = api.GET as unknown as (
  path: string,
  init: object,
) => Promise<{ data?: unknown; error?: unknown; response: Response }>;

/** useGet asks one question: useGet("/v1/overview", {}, { span }). Show it with <Answered>. */
export function useGet<P extends GetPath>(path: P, params: Parameters<P>, options: GetOptions = {}) {
  const { span, live = [], every, enabled = true } = options;
  const key = useMemo(() => [path, params, span?.key], [path, params, span?.key]);
  useLiveRefresh(live, key);
  return useQuery<Answer<P>, Error>({
    queryKey: key,
    queryFn: ({ signal }) => unwrap(call(path, { params: withSpan(params, span), signal })) as Promise<Answer<P>>,
    enabled,
    refetchInterval: query => again(query.state.error, every),
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
  options: GetOptions = {},
) {
  const { span, live = [], every, enabled = true } = options;
  const key = useMemo(() => [path, params, span?.key, "pages"], [path, params, span?.key]);
  useLiveRefresh(live, key);
  const query = useInfiniteQuery({
    queryKey: key,
    initialPageParam: undefined as { cursor: string; asked: Record<string, string> } | undefined,
    queryFn: async ({ pageParam, signal }) => {
      const asked = pageParam?.asked ?? span?.query() ?? {};
      const within = pageParam ? { ...asked, cursor: pageParam.cursor } : asked;
      const body = await unwrap(call(path, { params: withSpan(params, undefined, within), signal }));
      return { body: body as Answer<P>, asked };
    },
    getNextPageParam: last => {
      const cursor = (last.body as { next_cursor?: string }).next_cursor;
      return cursor ? { cursor, asked: last.asked } : undefined;
    },
    enabled,
    refetchInterval: query => again(query.state.error, every),
  });
  const rows = useMemo(() => query.data?.pages.flatMap(page => rowsOf(page.body) ?? []), [query.data, rowsOf]);
  return { ...query, rows };
}

/** useRefresh returns a function that asks all questions below the paths again, for after an action. */
export function useRefresh() {
  const client = useQueryClient();
  return (...pathsAsked: GetPath[]) =>
    client.invalidateQueries({ predicate: query => pathsAsked.includes(query.queryKey[0] as GetPath) });
}
