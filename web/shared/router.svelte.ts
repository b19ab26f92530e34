/**
 * Where in the client we are: its path below the client's own, such as `/history` of `/app/history`.
 *
 * The browser's history is the only memory: back and reload do what people expect.
 */

const BASE = import.meta.env.BASE_URL.replace(/\/$/, '');
let path = $state(read());

function read(): string {
  return location.pathname.slice(BASE.length) || '/';
}

addEventListener('popstate', () => (path = read()));

/** The current path; begins with a slash. */
export function currentPath(): string {
  return path;
}

/** Go to another screen, as a step that the back gesture undoes. */
export function go(to: string): void {
  if (to === path) return;
  // What history.state says survives a reload: this entry was walked to, not opened.
  history.pushState({ walked: true }, '', BASE + to);
  path = to;
}

/** Take the place of this screen: the journey went on, and there is no way back to where it was. */
export function become(to: string): void {
  if (to === path) return;
  history.replaceState({ walked: true }, '', BASE + to);
  path = to;
}

/** Back to where the person came from; to `otherwise` if this screen is where they came in. */
export function back(otherwise: string): void {
  if ((history.state as { walked?: boolean } | null)?.walked && history.length > 1) history.back();
  else become(otherwise);
}

/** Whether this screen was opened by its address, and not reached from another one or by a reload of that. */
export function wasOpenedHere(): boolean {
  return (history.state as { walked?: boolean } | null)?.walked !== true;
}
