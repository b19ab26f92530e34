import type { Schemas } from '../../shared/api/client';
import { dictionary } from '../../shared/words/language.svelte';
import type { Word } from './closed';
import id from './id';

/** The Control Center's words. */
export const words = dictionary(id, () => import('./en'));

/** Returns the word for a value of the contract, such as a status or a tag. */
export function wordFor(value: Word | null | undefined): string {
  return value === null || value === undefined ? '–' : words().values[value];
}

/** Returns the word for a failure's tag. Where somebody was asked, nobody accepted; where not, nobody was there. */
export function tagWord(tag: Schemas['FailedPairing']['tag'] | null, anybodyAsked: boolean): string {
  return tag === 'no_mitra_available' && anybodyAsked ? words().nobodyAccepted : wordFor(tag);
}

/**
 * Returns the word for a value of the contract. Returns the text unchanged if it is not a value of the contract, for
 * example a gateway's reason.
 */
export function wordOrText(value: string): string {
  const known: Record<string, string> = words().values;
  return known[value] ?? value;
}

/** Returns the name of an actor: an operator's e-mail address, or the word for the worker or another actor. */
export function actorName(name: string): string {
  return words().audit.actors[name] ?? name;
}
