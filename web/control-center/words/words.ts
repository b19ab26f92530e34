import { dictionary } from '../../shared/words/language.svelte';
import type { Word } from './closed';
import id from './id';

/** The Control Center's words. */
export const words = dictionary(id, () => import('./en'));

/** Gives the word for a value of the contract, such as a status or a tag. */
export function wordFor(value: Word | null | undefined): string {
  return value === null || value === undefined ? '–' : words().values[value];
}

/** Gives the word for a value of the contract, and any other text as it is: a gateway's reason, for example. */
export function wordOrText(value: string): string {
  const known: Record<string, string> = words().values;
  return known[value] ?? value;
}

/** Gives the name of an actor: an operator's e-mail address as it is, and the word for the worker and others. */
export function actorName(name: string): string {
  return words().audit.actors[name] ?? name;
}
