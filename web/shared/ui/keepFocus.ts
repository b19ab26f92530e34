/**
 * When the focused element (such as a button, a card or a dialog) disappears, this module moves the focus to a good
 * place. Without this module, the browser moves the focus to the top of the page. A person with a screen reader or a
 * keyboard would start again at the top, without any notice.
 *
 * The focus moves to the nearest heading on the changed page, and the screen reader reads this heading. In a list, the
 * focus moves to the heading of the next entry. If a component moves the focus itself, this module does nothing.
 */

import { last, nothingHasFocus } from './lastUsed';

const CONTROLS = 'button, a, input, textarea, select';

/**
 * The places to which the focus can go, with the best place first. The places are `last.used`, its ancestors, and the
 * other entries of its list.
 */
let places: Element[] = [];
/** Whether the person uses a keyboard. If the person uses a finger, the page must not scroll to the focus. */
let usesKeys = false;
let timer: ReturnType<typeof setTimeout> | undefined;

let isStarted = false;

/** Starts to watch the page. Called when the person first uses an element. A second call does nothing. */
export function keepFocus(first: Element): void {
  if (isStarted) return;
  isStarted = true;
  remember(first.closest(CONTROLS));
  document.addEventListener('focusin', ({ target }) => remember(target as Element));
  document.addEventListener(
    'click',
    ({ target }) => {
      // Safari does not focus a button that the person taps.
      const control = (target as Element).closest(CONTROLS);
      if (control !== null || nothingHasFocus()) remember(control);
    },
    true,
  );
  addEventListener('keydown', () => (usesKeys = true), true);
  addEventListener('pointerdown', () => (usesKeys = false), true);
  document.addEventListener('focusout', ({ target, relatedTarget }) => {
    // A browser can send `focusout` shortly before it removes the element. Check again after the browser has removed
    // the element.
    if (relatedTarget === null) setTimeout(() => forgetIfLeft(target as Element), 0);
  });
  new MutationObserver(handleChange).observe(document.body, { childList: true, subtree: true });
  // The page has possibly changed while this code was loading.
  handleChange();
}

function handleChange(): void {
  // Wait, because the component of the next step possibly moves the focus itself.
  if (last.used?.isConnected === false) timer ??= setTimeout(moveFocus, 0);
  else remember(last.used);
}

function remember(now: Element | null): void {
  last.used = now;
  places = [];
  for (let one = now; one !== null; one = one.parentElement) {
    places.push(one);
    if (!one.matches('li')) continue;
    const entries = [...(one.parentElement?.children ?? [])];
    const index = entries.indexOf(one);
    places.push(...entries.slice(index + 1), ...entries.slice(0, index).reverse());
  }
  places.push(document.body);
}

/**
 * Forgets an element that the person has left, for example by tapping beside it. While a step runs, its button is
 * disabled.
 */
function forgetIfLeft(left: Element): void {
  if (left === last.used && left.isConnected && !left.matches(':disabled') && nothingHasFocus())
    remember(null);
}

function moveFocus(): void {
  timer = undefined;
  if (last.used?.isConnected !== false || !nothingHasFocus()) return;
  const dialogs = document.querySelectorAll('dialog[open]');
  for (const place of dialogs.length > 0 ? [dialogs[dialogs.length - 1]!] : places) {
    const heading = place.isConnected ? place.querySelector<HTMLElement>('h1, h2, h3') : null;
    if (heading === null) continue;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: !usesKeys });
    return;
  }
  // If there is no heading yet, the next screen is still loading. When the next screen changes the page, the observer
  // calls this function again.
}
