/** Times as operators read them: in Jakarta, whatever zone their desk is in. */
import type { Language } from '../shared/words/language.svelte';

const LOCALES = { id: 'id-ID', en: 'en-GB' } as const;
const JAKARTA = 'Asia/Jakarta';

/** 24 Nov 2026, 20.05.09 WIB */
export function wib(time: string | null, language: Language): string {
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

/** 20.00, the hour of a chart; or 24 Nov, its day. */
export function bucket(time: string | number, unit: 'hours' | 'days', language: Language): string {
  const at = new Date(time);
  return unit === 'hours'
    ? at.toLocaleTimeString(LOCALES[language], { timeZone: JAKARTA, hour: '2-digit', minute: '2-digit' })
    : at.toLocaleDateString(LOCALES[language], { timeZone: JAKARTA, day: 'numeric', month: 'short' });
}

/** 3 d 4 h, 2 h 5 min, 12 min, 40 s: how long something has waited. */
export function age(
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
