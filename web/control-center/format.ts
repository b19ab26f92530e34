/** Formats values for operators. All times are in Jakarta time, even if the operator is in another time zone. */
import { LOCALES } from '../shared/time/format';
import type { Language } from '../shared/words/language.svelte';

const JAKARTA = 'Asia/Jakarta';

/** Returns a text such as `24 Nov 2026, 20.05.09 WIB`. */
export function formatWib(time: string | null, language: Language): string {
  if (time === null) return '–';
  const at = new Date(time);
  const locale = LOCALES[language];
  const date = at.toLocaleDateString(locale, {
    timeZone: JAKARTA,
    day: 'numeric',
    month: 'short',
    year: 'numeric',
  });
  return `${date}, ${at.toLocaleTimeString(locale, { timeZone: JAKARTA })} WIB`;
}

/** Returns `1.234,5` in Indonesian and `1,234.5` in English. `digits`: the number of digits after the decimal mark. */
export function formatNumber(value: number, language: Language, digits = 0): string {
  return value.toLocaleString(LOCALES[language], {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/**
 * Returns the last characters of an id, because the end of an id is random. An id begins with its time, so ids of one
 * minute have the same beginning.
 */
export function shortenId(id: string): string {
  return id.slice(-8);
}

/** Returns the time of a bar in a chart, such as `20.00` for an hour and `24 Nov` for a day. */
export function formatBucket(time: string | number, unit: 'hours' | 'days', language: Language): string {
  const at = new Date(time);
  return unit === 'hours'
    ? at.toLocaleTimeString(LOCALES[language], { timeZone: JAKARTA, hour: '2-digit', minute: '2-digit' })
    : at.toLocaleDateString(LOCALES[language], { timeZone: JAKARTA, day: 'numeric', month: 'short' });
}

/** Returns a duration such as `3 d 4 h`, `2 h 5 min`, `12 min` or `40 s`. */
export function formatAge(
  seconds: number,
  units: { day: string; hour: string; minute: string; second: string },
): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} ${units.second}`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} ${units.minute}`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} ${units.hour} ${minutes % 60} ${units.minute}`;
  return `${Math.floor(hours / 24)} ${units.day} ${hours % 24} ${units.hour}`;
}
