import { codeOf, Refused } from '../api/client';
import id from './id';
import { dictionary } from './language.svelte';

/** The words that all clients share. */
export const shared = dictionary(id, () => import('./en'), {
  id: () => import('./idScreens'),
  en: () => import('./enScreens'),
});

/** Returns the sentence for an error. The caller uses it when it has no sentence of its own. */
export function errorText(error: unknown): string {
  if (error instanceof Refused && error.code === 'too_many_requests' && error.retryAfterSeconds !== null)
    return shared().tooManyFor(error.retryAfterSeconds);
  const words: Record<string, string> = shared().errors;
  if (error instanceof Refused && error.problem.timedOut === true && navigator.onLine)
    return shared().errors.timedOut;
  return words[codeOf(error)] ?? shared().errors.other;
}

interface FieldError {
  field?: unknown;
  code?: string;
}

/** Returns the faults of the fields that the server refused; none if the error is not about fields. */
export function fieldErrors(error: unknown): FieldError[] {
  const errors = error instanceof Refused ? error.problem.errors : undefined;
  return Array.isArray(errors) ? (errors as FieldError[]) : [];
}

/** Returns the sentence for the field that the server refused, or `other` if there is no sentence for its fault. */
export function fieldText(error: unknown, other: string): string {
  const words: Record<string, string> = shared().problems;
  return words[fieldErrors(error)[0]?.code ?? ''] ?? other;
}
