/**
 * The rules by which the clients treat text that people write. `src/curhat/kit/visible_text.py` has the same definition
 * of a visible character. The same cases test both definitions.
 */

/**
 * Matches a visible character: any character except marks, space, and characters that appear as nothing or as a blank.
 */
const VISIBLE =
  /[^\p{M}\p{Z}\p{Cc}\p{Cf}\p{Co}\p{Cs}\u115f\u1160\u2800\u3164\uffa0\u{1d159}]|[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}]/u;
/** Matches a letter of a script that is written from right to left. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** Whether the text has at least one visible character. The server refuses a text without a visible character. */
export function hasSomethingToSee(text: string): boolean {
  return VISIBLE.test(text);
}

/**
 * Returns a name for use inside a sentence. A name in a right-to-left script gets invisible characters around it
 * (U+2068, U+2069). Without the invisible characters, the name would reorder the rest of the sentence.
 */
export function isolated(name: string): string {
  return RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name;
}

/** Returns the first visible character of a name, for the round picture beside the name. */
export function initialOf(name: string): string {
  return [...name].find(hasSomethingToSee) ?? '';
}
