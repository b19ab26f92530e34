import { dictionary } from '../../shared/words/language.svelte';
import id from './id';

/** The Control Center's words. */
export const words = dictionary(id, () => import('./en'));

/** A word of the contract, such as a status or a tag, as people say it. */
export function say(value: string | null | undefined): string {
  if (value === null || value === undefined) return '–';
  const known: Record<string, string> = words().values;
  return known[value] ?? value;
}
