/** Helps when the app cannot fetch one of its own files, such as the code of a screen. */
import { timeoutSignal } from './baseline';
import { tabStorage } from './storage';

/**
 * `missing`: the network works, but the file is missing or broken. `other`: the server has an error. The texts for the
 * codes are in `errors` of words/.
 */
export type AssetProblem = 'unreachable' | 'missing' | 'other';

const PROBE_TIMEOUT_MS = 5_000;
/** RELOADED_KEY and MIN_RELOAD_PAUSE_MS must have the same values in boot.js. */
const RELOADED_KEY = 'curhat:reloaded';
const MIN_RELOAD_PAUSE_MS = 60_000;

/**
 * Finds out why a dynamic import failed, and reloads the page if a reload helps. Returns undefined if the page reloads.
 *
 * After a deploy, an open page asks for files that the new version no longer has. A reloaded page knows the new names
 * of the files. A second `import()` would not help, because a page never fetches a failed module again. The page
 * reloads at most once per MIN_RELOAD_PAUSE_MS. If `pressed` is true, the person has pressed a button, and the page
 * reloads without this limit.
 */
export async function reloadAfter(error: unknown, pressed = false): Promise<AssetProblem | undefined> {
  let status: number;
  try {
    const options = { method: 'HEAD', cache: 'no-store', signal: timeoutSignal(PROBE_TIMEOUT_MS) } as const;
    ({ status } = await fetch(addressIn(error), options));
  } catch {
    return 'unreachable';
  }
  if (status >= 500) return 'other';
  const sinceReload = Date.now() - Number(tabStorage.get(RELOADED_KEY));
  // In a browser that stores nothing, repeated reloads would never stop, and the unsent messages would be lost.
  if (!pressed && (sinceReload < MIN_RELOAD_PAUSE_MS || !tabStorage.canKeep())) return 'missing';
  tabStorage.set(RELOADED_KEY, String(Date.now()));
  location.reload();
  return undefined;
}

/**
 * Returns the URL of the file that the error names. Safari's error names no file, so the result is then the URL of the
 * page.
 */
function addressIn(error: unknown): string {
  return /(https?:\/)?\/\S+\.(js|css)/.exec(String(error))?.[0] ?? import.meta.env.BASE_URL;
}
