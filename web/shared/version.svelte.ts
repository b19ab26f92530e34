/** Notices that the server has a newer version of this client than the open page. */
import { mount } from 'svelte';
import { timeoutSignal } from './baseline';
import NewVersionBar from './ui/NewVersionBar.svelte';

const CHECK_INTERVAL_MS = 30 * 60_000;
const ANSWER_TIMEOUT_MS = 15_000;

let isOutdated = $state(false);

export function hasNewVersion(): boolean {
  return isOutdated;
}

/**
 * Checks the version every CHECK_INTERVAL_MS while the page is visible. When the person returns to the page, checks the
 * version if the last check is at least CHECK_INTERVAL_MS old.
 */
export function watchVersion(): void {
  // Put the bar inside the app's element. A screen that is as high as the phone, such as a chat, then shrinks by the
  // bar's height.
  const target = document.getElementsByClassName('app')[0] ?? document.body;
  mount(NewVersionBar, { target, anchor: target.firstChild! });
  let checkedAt = Date.now();
  const check = () => {
    if (document.visibilityState !== 'visible' || Date.now() - checkedAt < CHECK_INTERVAL_MS) return;
    checkedAt = Date.now();
    void compare();
  };
  setInterval(check, CHECK_INTERVAL_MS);
  document.addEventListener('visibilitychange', check);
}

/**
 * The name of the script contains the hash of the whole client. After a deploy, the page from the server therefore
 * names another script.
 */
async function compare(): Promise<void> {
  const script = document.querySelector<HTMLScriptElement>('script[type="module"]');
  try {
    // With `no-store`, the request goes to the server, because the service worker does not answer it.
    const options = { cache: 'no-store', signal: timeoutSignal(ANSWER_TIMEOUT_MS) } as const;
    const page = await (await fetch(import.meta.env.BASE_URL, options)).text();
    // A page from another server, such as a proxy, says nothing about the version.
    if (script !== null && page.includes('id="app"'))
      isOutdated = !page.includes(new URL(script.src).pathname);
  } catch {
    // Without a network, check again later.
  }
}
