/**
 * Whether a bestie is there, asked every 5 s while the page is in front (1.3). What is not known is `null`; a poll
 * that failed says no (1.6). What was known before the page went to the background is forgotten.
 */
const EVERY_MS = 5_000;
const TIMEOUT_MS = 4_000;

let available = $state<boolean | null>(null);

export function isAvailable(): boolean | null {
  return available;
}

/** Poll for as long as the screen that needs it lives: call it inside an `$effect`. */
export function pollAvailability(): () => void {
  let timer: ReturnType<typeof setInterval> | undefined;
  let asked: AbortController | undefined;

  async function poll(): Promise<void> {
    cancel();
    const own = (asked = new AbortController());
    const timeout = setTimeout(() => own.abort(), TIMEOUT_MS);
    let answer = false;
    try {
      const response = await fetch('/api/client/mitra-availability', {
        signal: own.signal,
        cache: 'no-store',
      });
      answer = response.ok && ((await response.json()) as { available?: unknown }).available === true;
    } catch {
      // Unknown means unavailable.
    } finally {
      clearTimeout(timeout);
    }
    if (own === asked) available = answer;
  }

  function cancel(): void {
    asked?.abort();
    asked = undefined;
  }

  function follow(): void {
    clearInterval(timer);
    if (document.visibilityState === 'visible') {
      timer = setInterval(poll, EVERY_MS);
      void poll();
    } else {
      cancel();
      available = null;
    }
  }

  function lost(): void {
    cancel();
    available = false;
  }

  document.addEventListener('visibilitychange', follow);
  addEventListener('offline', lost);
  addEventListener('online', follow);
  follow();
  return () => {
    document.removeEventListener('visibilitychange', follow);
    removeEventListener('offline', lost);
    removeEventListener('online', follow);
    clearInterval(timer);
    cancel();
    available = null;
  };
}
