// Names, user agents and the like come from outside and may hold anything. React makes text nodes of them, so they are
// never markup; what is left are characters that are not seen, or that turn the text around them.

/** Characters that are not seen or that change the order of what is: controls, bidi marks, zero widths, tags. */
const hidden =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what it is about
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;

/** codepoint names a character: U+202E. */
export function codepoint(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}

/** A part of a text: as it is, or a character that must be named to be seen. */
export type Part = { text: string } | { hidden: string };

/** parts takes a text apart, cut after limit characters. */
export function parts(text: string, limit = 400): Part[] {
  const cut = text.length > limit ? `${text.slice(0, limit).replace(/[\ud800-\udbff]$/, "")}…` : text;
  const found: Part[] = [];
  let end = 0;
  for (const match of cut.matchAll(hidden)) {
    if (match.index > end) found.push({ text: cut.slice(end, match.index) });
    found.push({ hidden: codepoint(match[0]) });
    end = match.index + match[0].length;
  }
  if (end < cut.length) found.push({ text: cut.slice(end) });
  return found;
}

/** plain is a text for places that hold only a string, such as labels: hidden characters named, and isolated. */
export function plain(text: string, limit = 200): string {
  const seen = parts(text, limit)
    .map(part => ("text" in part ? part.text : `⟨${part.hidden}⟩`))
    .join("");
  return `\u2068${seen}\u2069`;
}
