/** Keeps the phone's screen on while the person waits. If the screen goes off, the phone can lose its connection. */

let isRefused = $state(!('wakeLock' in navigator));

/** Returns true if the phone refused to keep the screen on. */
export function mayDarken(): boolean {
  return isRefused;
}

/**
 * Keeps the screen on while the page is in the foreground. Components must call `keepAwake` inside an `$effect`.
 * Returns the function that lets the phone turn its screen off again.
 */
export function keepAwake(): () => void {
  let lock: WakeLockSentinel | undefined;
  let isOver = false;

  /**
   * The browser releases the lock when the page goes to the background, so request the lock again when the page
   * returns.
   */
  async function hold(): Promise<void> {
    if (!('wakeLock' in navigator) || document.visibilityState !== 'visible') return;
    try {
      lock = await navigator.wakeLock.request('screen');
      isRefused = false;
      if (isOver) await lock.release();
    } catch {
      // A phone that saves its battery refuses the lock. If the page went to the background during the request, the
      // page requests the lock again when it returns.
      isRefused = document.visibilityState === 'visible';
    }
  }

  void hold();
  document.addEventListener('visibilitychange', hold);
  return () => {
    isOver = true;
    document.removeEventListener('visibilitychange', hold);
    void lock?.release();
  };
}
