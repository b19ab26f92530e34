/** The customer leaves a chat (T.5). */
import { api, type Schemas } from '../shared/api/client';
import { keepLeave, sendLeaves as send, type Leave } from '../shared/safety/leave';
import { tellStored } from '../shared/safety/stored';
import { serverNow } from '../shared/time/clock.svelte';
import { journey, type Session } from './journey.svelte';

/** The chats that the customer has left with a report or a block. The app does not ask how they were. */
const reportedOrBlocked = new Set<string>();

export function hasReportedOrBlocked(sessionId: string): boolean {
  return reportedOrBlocked.has(sessionId);
}

/** Leaves the chat on this device at once, and tells the server as soon as it can. */
export function leave(session: Session, wanted: Leave): void {
  if (wanted.report !== undefined || wanted.block === true) reportedOrBlocked.add(session.id);
  keepLeave('customer', session.id, wanted);
  const ended_at = new Date(serverNow()).toISOString();
  journey.applySession({ ...session, status: 'ended', end_reason: 'customer_ended', ended_at });
  sendLeaves();
}

/** Sends the leaves that this device keeps. */
export function sendLeaves(): void {
  send<Schemas['LeftSession']>({
    side: 'customer',
    post: (session_id, wanted, headers) =>
      api.post('/api/client/sessions/{session_id}/leave', {
        path: { session_id },
        headers,
        body: wanted as Schemas['LeaveByCustomer'],
      }),
    onleft: (session, wanted) => {
      journey.applySession(session);
      tellStored(session.not_stored, wanted);
    },
    onunknown: () => void journey.refresh().catch(() => undefined),
  });
}
