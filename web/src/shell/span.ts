import { useMemo } from "react";
import { useSearchParams } from "react-router";

/** presets are the spans that end now, by their names in the query string, in seconds. */
export const presets = {
  "1h": { label: "last hour", seconds: 3600 },
  "6h": { label: "last 6 hours", seconds: 6 * 3600 },
  "24h": { label: "last 24 hours", seconds: 24 * 3600 },
  "7d": { label: "last 7 days", seconds: 7 * 86400 },
  "30d": { label: "last 30 days", seconds: 30 * 86400 },
  "90d": { label: "last 90 days", seconds: 90 * 86400 },
} as const;

export type Preset = keyof typeof presets;
export const defaultPreset: Preset = "24h";

/** Span is the time and the tenant that the header's pickers say. They live in the query string. */
export interface Span {
  /** Set for a span that ends now. */
  preset: Preset | undefined;
  /** Set for one of the viewer's own: RFC 3339. */
  from: string | undefined;
  to: string | undefined;
  tenant: string | undefined;
  /** Two spans with the same key are the same question. */
  key: string;
  /** The parameters of the API, as of now. */
  query(): { from: string; to: string; tenant?: string };
}

const valid = (text: string | null) => (text && !Number.isNaN(Date.parse(text)) ? new Date(text).toISOString() : undefined);

/** parseSpan reads a span from a query string; what it cannot read is the default. */
export function parseSpan(search: URLSearchParams): Span {
  const tenant = search.get("tenant") || undefined;
  const from = valid(search.get("from"));
  const to = valid(search.get("to"));
  const range = search.get("range");
  if (from && to && from < to) {
    return { preset: undefined, from, to, tenant, key: `${from}/${to}/${tenant ?? ""}`, query: () => ({ from, to, tenant }) };
  }
  const preset = range && Object.hasOwn(presets, range) ? (range as Preset) : defaultPreset;
  return {
    preset,
    from: undefined,
    to: undefined,
    tenant,
    key: `${preset}/${tenant ?? ""}`,
    query: () => {
      const now = Date.now();
      return { from: new Date(now - presets[preset].seconds * 1000).toISOString(), to: new Date(now).toISOString(), tenant };
    },
  };
}

/** useSpan is the span of the page's address. */
export function useSpan(): Span {
  const [search] = useSearchParams();
  const text = search.toString();
  return useMemo(() => parseSpan(new URLSearchParams(text)), [text]);
}

/** spanNames are the parameters that links between views keep. */
export const spanNames = ["range", "from", "to", "tenant"] as const;

/** keepSpan is the query string of a link to another view: its own parameters, and the span of this one. */
export function keepSpan(search: URLSearchParams, own: Record<string, string | undefined> = {}): string {
  const next = new URLSearchParams();
  for (const [name, value] of Object.entries(own)) if (value) next.set(name, value);
  for (const name of spanNames) {
    const value = search.get(name);
    if (value && !Object.hasOwn(own, name)) next.set(name, value);
  }
  const text = next.toString();
  return text ? `?${text}` : "";
}
