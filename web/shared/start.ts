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
  navigator.serviceWorker.register(worker(), { scope: base, updateViaCache: 'none' }).catch(() => {
    // The app works without it; there is nothing that a person could do.
  });
}

interface TrustedTypes {
  createPolicy: (
    name: string,
    rules: { createScriptURL: () => string },
  ) => { createScriptURL: (text: string) => string };
}

/** The worker's address, in the one policy that the server allows for it where browsers ask for one. */
function worker(): string {
  const address = `${import.meta.env.BASE_URL}worker.js`;
  const { trustedTypes } = window as { trustedTypes?: TrustedTypes };
  return (
    trustedTypes?.createPolicy('curhat-worker', { createScriptURL: () => address }).createScriptURL('') ??
    address
  );
}
