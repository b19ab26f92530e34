/** Keeps the phone's screen on while the person waits. A phone whose screen is off may lose its connection. */

let isRefused = $state(!('wakeLock' in navigator));

/** Returns whether the phone may turn its screen off although the app wants to keep the screen on. */
export function mayDarken(): boolean {
  return isRefused;
}

/**
 * Keeps the screen on while the page is in front. Call it inside an `$effect`. Returns the function that lets the
 * phone turn its screen off again.
 */
export function keepAwake(): () => void {
  let lock: WakeLockSentinel | undefined;
  let isOver = false;

  /** The browser releases the lock when the page goes to the background, so ask again when the page returns. */
  async function hold(): Promise<void> {
    if (!('wakeLock' in navigator) || document.visibilityState !== 'visible') return;
    try {
      lock = await navigator.wakeLock.request('screen');
      isRefused = false;
      if (isOver) await lock.release();
    } catch {
      // A phone that saves its battery refuses. If the page went to the background meanwhile, it asks again later.
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
