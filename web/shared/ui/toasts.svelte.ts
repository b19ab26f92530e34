/**
 * Short messages that disappear after a few seconds. A message that the person must not miss belongs on the screen
 * instead. This code is part of the first load, and `#each` would make it 2 KB larger.
 */

const SHOWN_MS = 5_000;
const MAX_SHOWN = 3;

let place: HTMLElement | undefined;

/** Lets the messages appear in this element (a Svelte action). */
export function showToastsIn(element: HTMLElement): void {
  place = element;
}

/** Shows a message. Does nothing if the same message is already visible. */
export function showToast(text: string): void {
  if (place === undefined) return;
  const shown = [...place.children];
  if (shown.some((one) => one.textContent === text)) return;
  if (shown.length === MAX_SHOWN) shown[0]!.remove();
  const toast = document.createElement('p');
  toast.textContent = text;
  place.append(toast);
  setTimeout(() => toast.remove(), SHOWN_MS);
}
