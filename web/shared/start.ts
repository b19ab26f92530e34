/** What every client does first: language, theme, the app in its place, and the service worker. */
import { mount, type Component } from 'svelte';
import './ui/base.css';
import { showTheme } from './ui/theme.svelte';
import { rememberedLanguage } from './words/language.svelte';

export async function start(App: Component): Promise<void> {
  showTheme();
  await rememberedLanguage();
  const place = document.getElementById('app');
  if (place === null) throw new Error('index.html has no #app');
  place.replaceChildren();
  mount(App, { target: place });
  // After the first screen: on a slow network it must not wait for what the next opening needs.
  addEventListener('load', keepForOffline);
  if (document.readyState === 'complete') keepForOffline();
}

function keepForOffline(): void {
  if (!('serviceWorker' in navigator)) return;
  const base = import.meta.env.BASE_URL;
  navigator.serviceWorker.register(`${base}worker.js`, { scope: base, updateViaCache: 'none' }).catch(() => {
    // The app works without it; there is nothing that a person could do.
  });
}
