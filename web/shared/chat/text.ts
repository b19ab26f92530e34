/** Finds the links in a message, and messages that are only emoji. */

export interface Link {
  href: string;
  label: string;
}

/** The beginning of a link. A link ends at white space, or at a sign that cannot belong to it. */
const LINK = /(?:https?:\/\/|www\.)[^\s<>"'`]+/giu;
/** A sentence often ends right after a link. */
const TRAILING = /[.,;:!?…”’*]+$/u;
const WORD_END = /[\p{L}\p{N}]$/u;
const MAX_EMOJI_UNITS = 40;
const EMOJI =
  /^(?:(?:\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier})*(?:\u200d\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier})*)*|\p{Regional_Indicator}{2})\s*){1,3}$/u;

/** Splits a text into plain texts and links. Joined again, the parts are the text. */
export function findLinks(text: string): (string | Link)[] {
  const parts: (string | Link)[] = [];
  let end = 0;
  for (const found of text.matchAll(LINK)) {
    const label = withoutUnmatchedBrackets(found[0].replace(TRAILING, ''));
    const href = addressOf(label);
    if (href === undefined || WORD_END.test(text.slice(0, found.index))) continue;
    if (found.index > end) parts.push(text.slice(end, found.index));
    parts.push({ href, label });
    end = found.index + label.length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

/** Returns the host that the link opens, as the browser reads it. A name in other letters looks like `xn--…`. */
export function hostOf(link: Link): string {
  return new URL(link.href).host;
}

/** Returns whether a message has one to three emoji and nothing else. */
export function isOnlyEmoji(text: string): boolean {
  return text.length <= MAX_EMOJI_UNITS && EMOJI.test(text);
}

const MAX_QUOTE_CHARACTERS = 60;

/** Returns the beginning of a text, as a quote shows it. */
export function shorten(text: string): string {
  const characters = [...text];
  return characters.length <= MAX_QUOTE_CHARACTERS
    ? text
    : `${characters.slice(0, MAX_QUOTE_CHARACTERS).join('').trimEnd()}…`;
}

function withoutUnmatchedBrackets(label: string): string {
  return label.endsWith(')') && !label.includes('(') ? label.slice(0, -1).replace(TRAILING, '') : label;
}

function addressOf(label: string): string | undefined {
  try {
    const url = new URL(/^www\./iu.test(label) ? `https://${label}` : label);
    // A name and password before the host make a link look like one of another host.
    return url.hostname.includes('.') && url.username === '' && url.password === '' ? url.href : undefined;
  } catch {
    return undefined;
  }
}
