/**
 * Asks the server every 5 s whether a bestie is available, while the page is in the foreground (1.3).
 *
 * `null` means that the answer is not known. A failed poll means `false` (1.6). When the page goes to the background,
 * the client forgets the last answer.
 */
const POLL_INTERVAL_MS = 5_000;
const POLL_TIMEOUT_MS = 4_000;

let available = $state<boolean | null>(null);

export function isAvailable(): boolean | null {
  return available;
}

/** Polls while the component exists. Call it inside an `$effect`. */
export function pollAvailability(): () => void {
  let timer: ReturnType<typeof setInterval> | undefined;
  /** The latest poll. The client ignores the answer to an earlier poll. */
  let latest: AbortController | undefined;

  async function poll(): Promise<void> {
    cancelPoll();
    const own = (latest = new AbortController());
    const timeout = setTimeout(() => own.abort(), POLL_TIMEOUT_MS);
    let answer = false;
    try {
      const response = await fetch('/api/client/mitra-availability', {
        signal: own.signal,
        cache: 'no-store',
      });
      answer = response.ok && ((await response.json()) as { available?: unknown }).available === true;
    } catch {
      // A poll without an answer means that nobody is available.
    } finally {
      clearTimeout(timeout);
    }
    if (own === latest) available = answer;
  }

  function cancelPoll(): void {
    latest?.abort();
    latest = undefined;
  }

  function restart(): void {
    clearInterval(timer);
    if (document.visibilityState === 'visible') {
      timer = setInterval(poll, POLL_INTERVAL_MS);
      void poll();
    } else {
      cancelPoll();
      available = null;
    }
  }

  function handleOffline(): void {
    cancelPoll();
    available = false;
  }

  document.addEventListener('visibilitychange', restart);
  addEventListener('offline', handleOffline);
  addEventListener('online', restart);
  restart();
  return () => {
    document.removeEventListener('visibilitychange', restart);
    removeEventListener('offline', handleOffline);
    removeEventListener('online', restart);
    clearInterval(timer);
    cancelPoll();
    available = null;
  };
}
