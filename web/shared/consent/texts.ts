/** The texts that a person must accept, and what this device knows about the acceptances. */
import { api, type Schemas } from '../api/client';
import { deviceStorage } from '../storage';
import type { Language } from '../words/language.svelte';

export type Side = 'client' | 'mitra';
export type TextToAccept = Schemas['TextToAccept'];
export type Texts = Schemas['TextsToAccept'];

const KEY = 'curhat:accepted';

export function fetchTexts(side: Side, language: Language): Promise<Texts> {
  return side === 'client'
    ? api.get('/api/client/texts', { query: { language } })
    : api.get('/api/mitra/texts', { query: { language } });
}

/** Accepts one text. A repeated acceptance has no effect, so the request needs no key. Throws `Refused`. */
export function acceptText(side: Side, text: TextToAccept, birthYear: number | undefined): Promise<unknown> {
  const body = {
    kind: text.kind,
    version: text.version,
    ...(text.kind === 'terms' && birthYear !== undefined ? { birth_year: birthYear } : {}),
  };
  return side === 'client'
    ? api.post('/api/client/acceptances', { body })
    : api.post('/api/mitra/acceptances', { body });
}

/**
 * Returns whether this person must accept a text before the next payment. Asks the server only until everything has been
 * accepted on this device. If a new version was published since, the server refuses the payment, and says so.
 */
export async function mustAccept(language: Language): Promise<boolean> {
  if (deviceStorage.get(KEY) !== null) return false;
  const { items } = await fetchTexts('client', language);
  if (items.some((text) => text.accepted_at === null)) return true;
  if (items.length > 0) rememberAcceptances();
  return false;
}

export function rememberAcceptances(): void {
  deviceStorage.set(KEY, '1');
}

/** Forgets what this device knows, because the server has refused a payment. */
export function forgetAcceptances(): void {
  deviceStorage.remove(KEY);
}
