/**
 * Shows a `<dialog>` in a browser that has no dialogs, such as Safari 15.3 or Firefox 97. A browser without dialogs
 * treats `<dialog>` as an unknown element.
 */
import './oldDialog.css';

const FOCUSABLE = 'button:not([disabled]), input:not([disabled]), textarea, select, a[href]';

/**
 * Shows the dialog above the page. Returns a function that hides the dialog again. The dialog element gets the event
 * `cancel`, as in other browsers.
 */
export function showOldDialog(dialog: HTMLElement): () => void {
  dialog.setAttribute('role', 'dialog');
  dialog.setAttribute('aria-modal', 'true');
  dialog.setAttribute('open', '');
  dialog.classList.add('old');
  const shade = document.createElement('div');
  shade.className = 'shade';
  dialog.before(shade);
  const cancel = () => void dialog.dispatchEvent(new Event('cancel', { cancelable: true }));
  const handleKey = (event: KeyboardEvent) => {
    if (event.key === 'Escape') cancel();
    else if (event.key === 'Tab') keepFocus(dialog, event);
  };
  shade.addEventListener('click', cancel);
  document.addEventListener('keydown', handleKey);
  dialog.querySelector<HTMLElement>(FOCUSABLE)?.focus();
  return () => {
    shade.remove();
    document.removeEventListener('keydown', handleKey);
  };
}

/** Keeps the focus in the dialog: Tab on the last control goes to the first control, and Shift+Tab goes back. */
function keepFocus(dialog: HTMLElement, event: KeyboardEvent): void {
  const controls = [...dialog.querySelectorAll<HTMLElement>(FOCUSABLE)];
  const [from, to] = event.shiftKey ? [0, controls.length - 1] : [controls.length - 1, 0];
  const isInside = dialog.contains(document.activeElement);
  if (isInside && document.activeElement !== controls[from]) return;
  event.preventDefault();
  controls[to]?.focus();
}
