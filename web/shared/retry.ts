/** Waits, and repeated attempts, that a network that comes back cuts short. */

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;

/**
 * Runs `attempt` until it succeeds. The pause between two attempts doubles from 1 s to 10 s. Stops when `canRetry`
 * says that another attempt would change nothing.
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

/** Resolves when the browser says that the network is back, and after `milliseconds` at the latest. */
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
