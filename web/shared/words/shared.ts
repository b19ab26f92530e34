import { codeOf } from '../api/client';
import id from './id';
import { dictionary } from './language.svelte';

/** The words that all clients share. */
export const shared = dictionary(id, () => import('./en'));

/** Gives the sentence for an error that the caller has no special sentence for. */
export function errorText(error: unknown): string {
  const words: Record<string, string> = shared().errors;
  return words[codeOf(error)] ?? shared().errors.other;
}
