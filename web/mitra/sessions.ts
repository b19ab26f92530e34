/** Adds up the time of sessions. */
import { serverNow } from '../shared/time/clock.svelte';
import type { Session } from './work.svelte';

/** Returns the day on which a session began, in the viewer's time zone. Two sessions of one day get the same text. */
export function dayOf(session: Session): string {
  return new Date(session.started_at).toDateString();
}

/** Sums the minutes of these sessions. For a running session, the sum includes the minutes until now. */
export function sumMinutes(sessions: readonly Session[]): number {
  const milliseconds = sessions.map(
    (session) =>
      (session.ended_at === null ? serverNow() : Date.parse(session.ended_at)) -
      Date.parse(session.started_at),
  );
  return Math.round(milliseconds.reduce((sum, one) => sum + Math.max(0, one), 0) / 60_000);
}
