/** Light or dark: what the person chose, otherwise what the device says. */

type Theme = 'light' | 'dark';
export type ThemeChoice = Theme | 'device';

const KEY = 'curhat:theme';
const deviceIsDark = matchMedia('(prefers-color-scheme: dark)');
let choice = $state<ThemeChoice>(remembered());

function remembered(): ThemeChoice {
  const kept = localStorage.getItem(KEY);
  return kept === 'light' || kept === 'dark' ? kept : 'device';
}

/** What was chosen. */
export function themeChoice(): ThemeChoice {
  return choice;
}

/** Use this theme from now on, here and at the next opening. */
export function useTheme(wanted: ThemeChoice): void {
  choice = wanted;
  if (wanted === 'device') localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, wanted);
  showTheme();
}

/** Call before anything is shown. */
export function showTheme(): void {
  const theme = choice === 'device' ? (deviceIsDark.matches ? 'dark' : 'light') : choice;
  document.documentElement.dataset.theme = theme;
  const bar = document.querySelector('meta[name="theme-color"]');
  bar?.setAttribute('content', theme === 'dark' ? '#171412' : '#faf6f1');
}

deviceIsDark.addEventListener('change', showTheme);
