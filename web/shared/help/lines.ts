/**
 * The help lines (H.2). The bundle contains the list of its release. The device also keeps the newest list of the server
 * (`newest.ts`). So the card opens without a request, and works without a network.
 */
import type { Schemas } from '../api/client';
import { deviceStorage } from '../storage';
import type { Language } from '../words/language.svelte';

type Text = string | Schemas['BothLanguages'];

/** A line as the card shows it. The server's list has both languages, and the bundle's list has one. */
export interface ShownLine {
  name: string;
  what_for: Text;
  channels: Schemas['HelpChannel'][];
  hours?: Text | null;
  region: Text;
  is_free?: boolean | null;
  note?: Text | null;
  verified_at?: string | null;
}

/** Signing out keeps this value, because it is about nobody. A new number forgets lists in an old form. */
export const KEY = 'curhat-help-1';

const MAX_VERIFIED_MS = 30 * 86_400_000;

/** Returns the newest list that this device has: the server's list, or `shipped`. */
export function linesOr(shipped: ShownLine[]): ShownLine[] {
  return (deviceStorage.getJson(KEY) as Schemas['HelpLines'] | null | undefined)?.items ?? shipped;
}

/** Returns a text of the list in this language. */
export function textIn(language: Language, text: Text | null | undefined): string {
  return typeof text === 'string' ? text : (text?.[language] ?? '');
}

/** Returns whether somebody has verified this line within 30 days. */
export function isVerified(line: ShownLine): boolean {
  return Date.now() - Date.parse(line.verified_at ?? '') < MAX_VERIFIED_MS;
}

/** Returns the address that a phone opens, and its name. A comma in a number is a pause before the extension. */
export function linkOf({ kind, value }: Schemas['HelpChannel']): [href: string, name: string] {
  if (kind === 'call') return [`tel:${value.replace(/[ -]/g, '')}`, value.replace(/,+/, ' ext ')];
  if (kind === 'whatsapp') return [`https://wa.me/${value.slice(1)}`, 'WhatsApp'];
  return [value, value.slice(8)];
}
