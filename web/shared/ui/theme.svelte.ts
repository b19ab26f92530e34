/** The theme, light or dark. If the person has not chosen a theme, the client uses the theme of the device. */

import { deviceStorage } from '../storage';

type Theme = 'light' | 'dark';
export type ThemeChoice = Theme | 'device';

const KEY = 'curhat:theme';
const deviceIsDark = matchMedia('(prefers-color-scheme: dark)');
let choice = $state<ThemeChoice>(readChoice());

function readChoice(): ThemeChoice {
  const kept = deviceStorage.get(KEY);
  return kept === 'light' || kept === 'dark' ? kept : 'device';
}

/** Returns the person's choice. */
export function themeChoice(): ThemeChoice {
  return choice;
}

/** Uses this theme now and at later visits. */
export function setTheme(wanted: ThemeChoice): void {
  choice = wanted;
  if (wanted === 'device') deviceStorage.remove(KEY);
  else deviceStorage.set(KEY, wanted);
  applyTheme();
}

/** Applies the theme to the page. Called before the first screen appears. */
export function applyTheme(): void {
  const theme = choice === 'device' ? (deviceIsDark.matches ? 'dark' : 'light') : choice;
  document.documentElement.dataset.theme = theme;
  const bar = document.querySelector('meta[name="theme-color"]');
  bar?.setAttribute('content', theme === 'dark' ? '#171412' : '#faf6f1');
}

deviceIsDark.addEventListener('change', applyTheme);
