/** Waits and repeated attempts. When the network returns, a wait ends early. */

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;

/**
 * Runs `attempt` until it succeeds. The pause between two attempts doubles from 1 s to 10 s. Stops when `canRetry`
 * returns false, because another attempt would change nothing.
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

/** Resolves when the browser reports that the network is back, and after `milliseconds` at the latest. */
function waitUntilOnlineOr(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      removeEventListener('online', done);
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener('online', done);
  });
}
