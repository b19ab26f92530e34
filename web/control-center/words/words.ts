import { dictionary } from '../../shared/words/language.svelte';
import type { Word } from './closed';
import id from './id';

/** The Control Center's words. */
export const words = dictionary(id, () => import('./en'));

/** A word of the contract, such as a status or a tag, as people say it. */
export function say(value: Word | null | undefined): string {
  return value === null || value === undefined ? '–' : words().values[value];
}

/** A text that may be a word of the contract, and may be somebody else's: a gateway's reason, a filter's choice. */
export function sayAny(value: string): string {
  const known: Record<string, string> = words().values;
  return known[value] ?? value;
}

/** Who did something: an operator's e-mail, or what else acts here. */
export function actor(name: string): string {
  return words().audit.actors[name] ?? name;
}
