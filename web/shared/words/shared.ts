import { codeOf } from '../api/client';
import id from './id';
import { dictionary } from './language.svelte';

/** Words of what all clients share. */
export const shared = dictionary(id, () => import('./en'));

/** What to say about an error that this place knows nothing special about. */
export function sayError(error: unknown): string {
  const words: Record<string, string> = shared().errors;
  return words[codeOf(error)] ?? shared().errors.other;
}
