/** Formats money and times for people. */

import type { Language } from '../words/language.svelte';

export const LOCALES: Record<Language, string> = { id: 'id-ID', en: 'en-GB' };

/** `Rp20.000`, in both languages. */
export function formatRupiah(amount: number): string {
  return `Rp${amount.toString().replace(/\B(?=(\d{3})+$)/g, '.')}`;
}

/** Returns minutes and seconds, such as `4:05`. A duration of one hour or more also has hours, such as `1:04:05`. */
export function formatSeconds(seconds: number): string {
  const rest = `${Math.floor((seconds % 3600) / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  return seconds < 3600 ? rest : `${Math.floor(seconds / 3600)}:${rest.padStart(5, '0')}`;
}

/** Returns `20.05` in Indonesian and `20:05` in English. */
export function formatTime(time: string, language: Language): string {
  return new Date(time).toLocaleTimeString(LOCALES[language], { hour: '2-digit', minute: '2-digit' });
}

/**
 * Returns the name of the viewer's time zone: WIB, WITA or WIT. Returns the browser's name for a zone outside
 * Indonesia.
 */
export function zoneName(at: Date = new Date()): string {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const indonesian = (
    {
      'Asia/Jakarta': 'WIB',
      'Asia/Pontianak': 'WIB',
      'Asia/Makassar': 'WITA',
      'Asia/Ujung_Pandang': 'WITA',
      'Asia/Jayapura': 'WIT',
    } as const
  )[zone as 'Asia/Jakarta'];
  if (indonesian) return indonesian;
  const parts = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }).formatToParts(at);
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? '';
}

/** Returns a text such as `24 Nov 2026, 20.05 WIB`. */
export function formatDateTime(time: string, language: Language): string {
  const date = new Date(time).toLocaleDateString(LOCALES[language], {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
  });
  return `${date}, ${formatTime(time, language)} ${zoneName(new Date(time))}`;
}

/** Returns the heading of a day's messages, such as `Tuesday, 24 November`. */
export function formatDay(time: string, language: Language): string {
  return new Date(time).toLocaleDateString(LOCALES[language], {
    weekday: 'long',
    day: 'numeric',
    month: 'long',
  });
}
