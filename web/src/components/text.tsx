import { parts } from "../format/text";

/**
 * Text shows what came from outside: names, user agents, app names. It isolates its direction, names characters that
 * are not seen, and cuts what is too long. Everything of that kind goes through it.
 */
export function Text({
  value,
  limit = 400,
  className,
}: {
  value: string | undefined | null;
  limit?: number;
  className?: string;
}) {
  if (!value) return null;
  return (
    <bdi className={className}>
      {parts(value, limit).map((part, i) =>
        "text" in part ? (
          part.text
        ) : (
          // biome-ignore lint/suspicious/noArrayIndexKey: parts have no identity but their place
          <span key={i} className="unseen" title="a character that is not seen">
            {part.hidden}
          </span>
        ),
      )}
    </bdi>
  );
}

/** Code shows an identifier in a fixed pitch. */
export function Code({ value, limit = 120 }: { value: string | undefined | null; limit?: number }) {
  return value ? (
    <code>
      <Text value={value} limit={limit} />
    </code>
  ) : null;
}
