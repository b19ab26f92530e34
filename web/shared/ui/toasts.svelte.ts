/** Short words that pass: something was done, or could not be. What a person must know stays on the screen instead. */

const SHOWN_MS = 5_000;

export interface Toast {
  id: number;
  text: string;
}

let last = 0;
let shown = $state<Toast[]>([]);

export function toasts(): readonly Toast[] {
  return shown;
}

/** Say something. The same thing is not said twice at once. */
export function toast(text: string): void {
  if (shown.some((one) => one.text === text)) return;
  const id = ++last;
  shown = [...shown.slice(-2), { id, text }];
  setTimeout(() => {
    shown = shown.filter((one) => one.id !== id);
  }, SHOWN_MS);
}
