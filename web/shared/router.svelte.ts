/**
 * The path of the current screen, below the client's own path: `/history` for `/app/history`.
 *
 * Only the browser's history stores this path. So the back gesture and a reload work in the same way as on any page.
 */

const BASE = import.meta.env.BASE_URL.replace(/\/$/, '');
let path = $state(read());

function read(): string {
  return location.pathname.slice(BASE.length) || '/';
}

addEventListener('popstate', () => (path = read()));

/** Returns the current path. It begins with a slash. */
export function currentPath(): string {
  return path;
}

/** Goes to another screen. The back gesture then returns to the screen that was shown before this call. */
export function goTo(to: string): void {
  if (to === path) return;
  // history.state survives a reload. It records that the person came here from another screen.
  history.pushState({ navigated: true }, '', BASE + to);
  path = to;
}

/** Replaces this screen by another screen. The back gesture then does not return to this screen. */
export function replacePath(to: string): void {
  if (to === path) return;
  history.replaceState({ navigated: true }, '', BASE + to);
  path = to;
}

/** Goes back to the previous screen, or to `otherwise` if the person opened this screen first. */
export function goBack(otherwise: string): void {
  if ((history.state as { navigated?: boolean } | null)?.navigated && history.length > 1) history.back();
  else replacePath(otherwise);
}

/** Returns whether the person opened this screen by its URL, and not from another screen. */
export function wasOpenedByAddress(): boolean {
  return (history.state as { navigated?: boolean } | null)?.navigated !== true;
}
