/**
 * The path of the current screen, below the client's own path: `/history` for `/app/history`.
 *
 * Only the browser's history stores this path. The back gesture and a reload therefore work as on any web page.
 */

const BASE = import.meta.env.BASE_URL.replace(/\/$/, '');
let path = $state(read());

function read(): string {
  return location.pathname.slice(BASE.length) || '/';
}

addEventListener('popstate', () => (path = read()));

/** Returns the current path. The path begins with a slash. */
export function currentPath(): string {
  return path;
}

/** Goes to another screen. After `goTo`, the back gesture returns to the current screen. */
export function goTo(to: string): void {
  if (to === path) return;
  // history.state survives a reload. The field `navigated` records that the person came from another screen.
  history.pushState({ navigated: true }, '', BASE + to);
  path = to;
}

/**
 * Replaces the current screen by another screen. After `replacePath`, the back gesture does not return to the replaced
 * screen.
 */
export function replacePath(to: string): void {
  if (to === path) return;
  history.replaceState({ navigated: true }, '', BASE + to);
  path = to;
}

/** Goes back to the previous screen. Goes to `otherwise` if the person opened the client on this screen. */
export function goBack(otherwise: string): void {
  if ((history.state as { navigated?: boolean } | null)?.navigated && history.length > 1) history.back();
  else replacePath(otherwise);
}

/** Returns whether the person opened this screen directly by its URL. */
export function wasOpenedByAddress(): boolean {
  return (history.state as { navigated?: boolean } | null)?.navigated !== true;
}
