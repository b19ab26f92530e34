/** Starts a client: theme, language, the first component, and the service worker. */
import { mount, type Component } from 'svelte';
import './ui/base.css';
import { listenForInstallPrompt } from './install/install.svelte';
import { prepareDialogs } from './ui/oldDialogs';
import { startPressGuard } from './ui/pressGuard';
import { applyTheme } from './ui/theme.svelte';
import { restoreLanguage } from './words/language.svelte';

/** This pause is short, so that the server still has the code of the page's version. */
const START_LATER_MS = 20_000;

export async function start(App: Component): Promise<void> {
  const place = document.getElementById('app');
  // If `#app` is missing, the browser is too old, and boot.js shows a sentence about this in place of the app.
  if (place === null) return;
  applyTheme();
  keepFocusLater();
  startPressGuard();
  listenForInstallPrompt();
  await Promise.all([restoreLanguage(), prepareDialogs()]);
  place.replaceChildren();
  mount(App, { target: place });
  if (!import.meta.env.DEV) setTimeout(startLater, START_LATER_MS);
  // Register the service worker after the first screen has appeared. On a slow network, the first screen must not wait
  // for files that only the next visit needs.
  addEventListener('load', registerWorker);
  if (document.readyState === 'complete') registerWorker();
}

/** Starts what no screen waits for. This code is not part of the first load. */
function startLater(): void {
  import('./later').then(
    ({ startLater }) => startLater(),
    // There is no network. The person gets a new version and the newest help lines only at the next visit.
    () => undefined,
  );
}

/**
 * Waits until the person first uses a control, and then loads the code that keeps the focus. Before the first use of a
 * control, nothing has the focus, so this code is not part of the first load.
 */
function keepFocusLater(): void {
  // Safari does not focus a button that the person taps.
  const types = ['focusin', 'click'];
  const load = (event: Event) => {
    const target = event.target as Element;
    // Nobody learns who opens help (H.2), so the help button and the help card load nothing.
    if (target.closest('.help')) return;
    for (const type of types) removeEventListener(type, load, true);
    import('./ui/keepFocus').then(
      ({ keepFocus }) => keepFocus(target),
      // There is no network. Without the code that keeps the focus, the screens work, but after a step the focus is at
      // the top of the page.
      () => undefined,
    );
  };
  for (const type of types) addEventListener(type, load, true);
}

function registerWorker(): void {
  // `npm run dev` has no service worker, because a service worker would serve old files.
  if (import.meta.env.DEV || !('serviceWorker' in navigator)) return;
  const base = import.meta.env.BASE_URL;
  navigator.serviceWorker.register(workerAddress(), { scope: base, updateViaCache: 'none' }).catch(() => {
    // Show no error: the app works without the service worker, and the person cannot repair the service worker. So show
    // no message.
  });
}

interface TrustedTypes {
  createPolicy: (
    name: string,
    rules: { createScriptURL: () => string },
  ) => { createScriptURL: (text: string) => string };
}

/**
 * Returns the service worker's address. A browser with trusted types accepts this address only from the policy that
 * the server allows.
 */
function workerAddress(): string {
  const address = `${import.meta.env.BASE_URL}worker.js`;
  const { trustedTypes } = window as { trustedTypes?: TrustedTypes };
  return (
    trustedTypes?.createPolicy('curhat-worker', { createScriptURL: () => address }).createScriptURL('') ??
    address
  );
}
