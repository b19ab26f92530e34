/** Waits and repeated attempts. A wait ends early if the network returns or the person returns to the page. */
import { isTemporary } from './api/client';

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;

/**
 * Runs `attempt` until it succeeds. The pause between two attempts doubles from 1 s to 10 s. Stops when `canRetry`
 * returns false, because another attempt would fail too.
 */
export async function retryUntilDone(
  attempt: () => Promise<void>,
  canRetry: (error: unknown) => boolean,
): Promise<void> {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (!canRetry(error)) return;
    }
    await waitUntilOnlineOr(pause);
  }
}

/**
 * Loads the data of a screen. Every screen that loads data uses this function, either directly or in `Loading`, `Pages`
 * or `Resource`. A screen that was opened without a network therefore shows its content when the network returns.
 *
 * The function `load` throws an error if it fails. After a temporary error, this function calls `load` again. Returns a
 * function that ends the attempts. A screen calls the returned function when the screen closes.
 */
export function loadUntilDone(load: () => Promise<unknown>): () => void {
  let isOver = false;
  void retryUntilDone(
    async () => {
      if (!isOver) await load();
    },
    (error) => !isOver && isTemporary(error),
  );
  return () => {
    isOver = true;
  };
}

/** Resolves when the network returns or the person returns to the page, and after `milliseconds` at the latest. */
function waitUntilOnlineOr(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      removeEventListener('online', done);
      document.removeEventListener('visibilitychange', handleVisibility);
      clearTimeout(timer);
      resolve();
    };
    const handleVisibility = () => {
      if (document.visibilityState === 'visible') done();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener('online', done);
    document.addEventListener('visibilitychange', handleVisibility);
  });
}
