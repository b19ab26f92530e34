import { Refused } from '../shared/api/client';

/** Returns a sentence for each field that the server refused. The result is empty if the error is not about fields. */
export function fieldProblems<Field extends string>(
  error: unknown,
  words: Readonly<Record<Field, string>>,
): Partial<Record<Field, string>> {
  const errors = error instanceof Refused ? error.problem.errors : undefined;
  const refused = Array.isArray(errors) ? errors.map((one: { field?: unknown }) => one.field) : [];
  const names = (Object.keys(words) as Field[]).filter((name) => refused.includes(name));
  return Object.fromEntries(names.map((name) => [name, words[name]])) as Partial<Record<Field, string>>;
}
