/** The mitra leaves a chat (T.5). */
import { api, type Schemas } from '../shared/api/client';
import { keepLeave, sendLeaves as send, type Leave } from '../shared/safety/leave';
import { tellStored } from '../shared/safety/stored';
import { serverNow } from '../shared/time/clock.svelte';
import { work, type Session } from './work.svelte';

/** Leaves the chat on this device at once, and tells the server as soon as it can. */
export function leave(session: Session, wanted: Leave): void {
  keepLeave('mitra', session.id, wanted);
  showLeft(session);
  sendLeaves();
}

/** Sends the leaves that this device keeps. */
export function sendLeaves(): void {
  send<Schemas['LeftMitraSession']>({
    side: 'mitra',
    post: (session_id, wanted, headers) =>
      api.post('/api/mitra/sessions/{session_id}/leave', {
        path: { session_id },
        headers,
        body: wanted as Schemas['LeaveByMitra'],
      }),
    onleft: (session, wanted) => {
      work.applySession(session);
      tellStored(session.not_stored, wanted);
    },
    onunknown: () => void work.start(),
  });
}

function showLeft(session: Session): void {
  const ended_at = new Date(serverNow()).toISOString();
  work.applySession({ ...session, status: 'ended', end_reason: 'mitra_ended', ended_at });
}
