/** The server's clock, as well as it can be known here. Countdowns run on it; the server alone decides. */

/** How much the server's clock is ahead of this device's. */
let aheadMs = 0;
let isKnown = false;
/** Beyond this, the device's clock was set, or it slept: what was known before is worth nothing. */
const JUMP_MS = 5_000;

/** A `server_now` that has just arrived. */
export function learnServerTime(serverNow: string): void {
  const seen = Date.parse(serverNow) - Date.now();
  if (Number.isNaN(seen)) return;
  // On its way it grew older, never younger: of two, the one that was faster here is nearer to the truth.
  if (!isKnown || seen > aheadMs || aheadMs - seen > JUMP_MS) aheadMs = seen;
  isKnown = true;
}

/** The server's time now, in milliseconds. */
export function serverNow(): number {
  return Date.now() + aheadMs;
}

const TICK_MS = 250;
let tick = $state(0);
let watchers = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/**
 * Have `secondsUntil` move for as long as the component lives: call it inside an `$effect`.
 * One timer serves all that is on the screen.
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

/** Whole seconds until this time by the server's clock, never below 0. Moves while somebody watches the time. */
export function secondsUntil(time: string): number {
  // Reading `tick` makes Svelte run the reader again. The time itself is always the latest.
  void tick;
  return Math.max(0, Math.ceil((Date.parse(time) - serverNow()) / 1000));
}
