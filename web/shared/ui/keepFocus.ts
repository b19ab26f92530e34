/**
 * Keeps the focus when the element that has it disappears: the button of a step that is over, a card that closed, a
 * dialog. Without this, the focus falls to the top of the page, and a person with a screen reader or a keyboard starts
 * again from there without a word.
 *
 * The focus moves to the nearest heading of what is there now, and the screen reader reads this heading. A component
 * that moves the focus itself has precedence.
 */

/** The element that had the focus last, followed by its ancestors, the nearest first. */
let path: Element[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

/** Starts to watch the page. `start` calls this function once. */
export function keepFocus(): void {
  document.addEventListener('focusin', ({ target }) => {
    path = [];
    for (let one = target as Element | null; one !== null; one = one.parentElement) path.push(one);
  });
  document.addEventListener('focusout', ({ target, relatedTarget }) => {
    // A browser may send this event shortly before it removes the element. So look again after the removal.
    if (relatedTarget === null) setTimeout(() => forgetIfLeft(target as Element), 0);
  });
  new MutationObserver(() => {
    // The component that shows the next step may move the focus first.
    if (path[0]?.isConnected === false) timer ??= setTimeout(moveFocus, 0);
  }).observe(document.body, { childList: true, subtree: true });
}

function nothingHasFocus(): boolean {
  return document.activeElement === null || document.activeElement === document.body;
}

/** Forgets an element that the person has left, for example with a tap beside it. A step that runs disables its button. */
function forgetIfLeft(left: Element): void {
  if (left === path[0] && left.isConnected && !left.matches(':disabled') && nothingHasFocus()) path = [];
}

function moveFocus(): void {
  timer = undefined;
  if (path[0]?.isConnected !== false || !nothingHasFocus()) return;
  const dialogs = document.querySelectorAll('dialog[open]');
  const places = dialogs.length > 0 ? [dialogs[dialogs.length - 1]!] : path.filter((one) => one.isConnected);
  for (const place of places) {
    const heading = place.querySelector<HTMLElement>('h1, h2, h3');
    if (heading === null) continue;
    heading.tabIndex = -1;
    heading.focus();
    return;
  }
  // The next screen is still loading. Its first change calls this function again.
}
