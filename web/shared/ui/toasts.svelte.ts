/**
 * Short messages that disappear after a few seconds. A message that the person must not miss belongs on the screen
 * instead.
 */

const SHOWN_MS = 5_000;

export interface Toast {
  id: number;
  text: string;
}

let lastId = 0;
let shown = $state<Toast[]>([]);

export function toasts(): readonly Toast[] {
  return shown;
}

/** Shows a message. Does nothing if the same message is already visible. */
export function showToast(text: string): void {
  if (shown.some((one) => one.text === text)) return;
  const id = ++lastId;
  shown = [...shown.slice(-2), { id, text }];
  setTimeout(() => {
    shown = shown.filter((one) => one.id !== id);
  }, SHOWN_MS);
}
