import { fieldErrors } from '../shared/words/fieldErrors';
import { shared } from '../shared/words/shared';

/** Returns a sentence for each field that the server refused. The result is empty if the error is not about fields. */
export function fieldProblems<Field extends string>(
  error: unknown,
  words: Readonly<Record<Field, string>>,
): Partial<Record<Field, string>> {
  const byCode: Record<string, string> = shared().problems;
  const refused = fieldErrors(error).filter(({ field }) => typeof field === 'string' && field in words);
  return Object.fromEntries(
    refused.map(({ field, code }) => [field, byCode[code ?? ''] ?? words[field as Field]]),
  ) as Partial<Record<Field, string>>;
}
