import { codeOf, Refused } from '../api/client';
import id from './id';
import { dictionary } from './language.svelte';

/** The words that all clients share. */
export const shared = dictionary(
  id,
  () => import('./en'),
  { id: () => import('./idScreens'), en: () => import('./enScreens') },
  true,
);

/** Returns the sentence for an error. A caller that has no sentence of its own for the error shows this sentence. */
export function errorText(error: unknown): string {
  if (error instanceof Refused && error.code === 'too_many_requests' && error.retryAfterSeconds !== null)
    return shared().tooManyFor(error.retryAfterSeconds);
  const words: Record<string, string> = shared().errors;
  if (error instanceof Refused && error.problem.timedOut === true && navigator.onLine)
    return shared().errors.timedOut;
  return words[codeOf(error)] ?? shared().errors.other;
}
