/**
 * The year of birth. It stays on the device if it is the year of a minor: the app then asks nothing more of the server,
 * and remembers only for a day that it refused.
 */
import { deviceStorage } from '../storage';
import { serverNow } from '../time/clock.svelte';

const KEY = 'curhat:adults-only-until';
const DAY_MS = 24 * 60 * 60 * 1000;
const MIN_YEAR = 1900;
/** The server has the same limit (content/texts/kinds.py), and decides. */
const ADULT_YEARS = 18;
/** Jakarta's year counts. It begins 7 hours before the year of UTC. */
const JAKARTA_MS = 7 * 60 * 60 * 1000;

function presentYear(): number {
  return new Date(serverNow() + JAKARTA_MS).getUTCFullYear();
}

/** Returns the year that the person wrote, or undefined if it cannot be a year of birth. */
export function birthYearOf(written: string): number | undefined {
  const digits = written.trim();
  if (!/^\d{4}$/.test(digits)) return undefined;
  const year = Number(digits);
  return year >= MIN_YEAR && year <= presentYear() ? year : undefined;
}

export function isMinor(birthYear: number): boolean {
  return presentYear() - birthYear < ADULT_YEARS;
}

/** Remembers the refusal for a day. */
export function rememberRefusal(): void {
  deviceStorage.set(KEY, String(Date.now() + DAY_MS));
}

/** Returns whether this device has refused somebody within the last day. */
export function wasRefused(): boolean {
  const until = Number(deviceStorage.get(KEY) ?? 0);
  if (until === 0) return false;
  // A clock that was set back must not make the refusal longer than a day.
  if (until > Date.now() && until <= Date.now() + DAY_MS) return true;
  deviceStorage.remove(KEY);
  return false;
}
