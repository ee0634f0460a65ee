let names: Intl.DisplayNames | undefined;

/** country writes a country's code of ISO 3166 by its name; what is no code is returned as it is. */
export function country(code: string): string {
  if (!/^[A-Z]{2}$/.test(code)) return code;
  try {
    names ??= new Intl.DisplayNames(undefined, { type: "region", fallback: "code" });
    return names.of(code) ?? code;
  } catch {
    return code;
  }
}

/** place writes where something is, as precisely as is known: "Berlin, Germany". */
export function place(
  of: { city?: string; region?: string; country?: string } | undefined,
  unknown = "an unknown place",
): string {
  const parts = [of?.city, of?.country && country(of.country)].filter(Boolean);
  return parts.join(", ") || unknown;
}
