/**
 * An estimate of the server's clock. Countdowns use the estimate, but only the server decides whether a deadline has
 * passed.
 */

/** How far the server's clock is ahead of this device's clock. */
let aheadMs = 0;
let isKnown = false;
/**
 * If the difference between the clocks jumps by more than this value, somebody set the device's clock or the device
 * slept. After the jump, the earlier estimate is wrong.
 */
const JUMP_MS = 5_000;

/** Improves the estimate with the value of `server_now` that has just arrived. */
export function learnServerTime(serverNow: string): void {
  const seen = Date.parse(serverNow) - Date.now();
  if (Number.isNaN(seen)) return;
  // A network delay makes the measured difference smaller than the true difference. Of two measured differences, the
  // larger is therefore more exact.
  if (!isKnown || seen > aheadMs || aheadMs - seen > JUMP_MS) aheadMs = seen;
  isKnown = true;
}

/** Returns the server's time now, in milliseconds. */
export function serverNow(): number {
  return Date.now() + aheadMs;
}

const TICK_MS = 250;
let tick = $state(0);
let watchers = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/**
 * Makes `secondsUntil` count down while the component exists. Components must call `watchTime` inside an `$effect`. All
 * components share one timer.
 */
export function watchTime(): () => void {
  watchers += 1;
  tick = serverNow();
  timer ??= setInterval(() => (tick = serverNow()), TICK_MS);
  return () => {
    watchers -= 1;
    if (watchers > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/**
 * Returns the seconds until `time`, rounded up, by the server's clock. Returns 0 if the time has passed. The returned
 * number counts down while a component uses `watchTime`.
 */
export function secondsUntil(time: string): number {
  // Reading `tick` makes Svelte evaluate the caller again at each tick.
  void tick;
  return Math.max(0, Math.ceil((Date.parse(time) - serverNow()) / 1000));
}
