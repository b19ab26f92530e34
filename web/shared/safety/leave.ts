/**
 * Leaving a chat (T.5). The device keeps the leave, with its report and block, and sends it until the server has it. So a
 * lost network, a reload or a closed app keeps nobody in a chat.
 */
import { codeOf, command, isTemporary, Refused, type Key } from '../api/client';
import { randomId } from '../baseline';
import type { Side } from '../chat/chat.svelte';
import { retryUntilDone } from '../retry';
import { deviceStorage } from '../storage';
import { leftKey } from './left';
import type { NewReport } from './report';

/** What the person chose beside the end. Everything is optional. */
export interface Leave {
  reason_code?: string;
  report?: NewReport;
  block?: boolean;
}

interface KeptLeave {
  /** The idempotency key. A repeated try sends the same leave under the same key. */
  key: string;
  leave: Leave;
}

export interface LeaveApi<Session> {
  side: Side;
  /** Sends the leave to the server. Throws `Refused`. */
  post: (sessionId: string, leave: Leave, headers: Key) => Promise<Session>;
  /** Called with the session as it ended, and with what was sent. */
  onleft: (session: Session, leave: Leave) => void;
  /** Called if the server knows no such chat of this person. */
  onunknown: () => void;
}

const sending = new Set<string>();

/** Keeps the leave on this device. `sendLeaves` then sends it. */
export function keepLeave(side: Side, sessionId: string, leave: Leave): void {
  const kept: KeptLeave = { key: randomId(), leave };
  deviceStorage.setJson(leftKey(side, sessionId), kept);
}

/** Sends the kept leaves, each until the server has it. */
export function sendLeaves<Session>(api: LeaveApi<Session>): void {
  const prefix = leftKey(api.side);
  for (const key of deviceStorage.keys(prefix)) {
    if (sending.has(key)) continue;
    sending.add(key);
    void sendUntilDone(api, key, key.slice(prefix.length)).finally(() => sending.delete(key));
  }
}

function sendUntilDone<Session>(api: LeaveApi<Session>, key: string, sessionId: string): Promise<void> {
  return retryUntilDone(
    async () => {
      const kept = deviceStorage.getJson(key) as KeptLeave | undefined;
      if (kept === undefined) {
        deviceStorage.remove(key);
        return;
      }
      const session = await command((headers) => api.post(sessionId, kept.leave, headers), kept.key);
      deviceStorage.remove(key);
      api.onleft(session, kept.leave);
    },
    (error) => {
      if (isTemporary(error)) return true;
      // After the next sign-in, the app sends the leave again.
      if (codeOf(error) === 'unauthenticated') return false;
      const kept = deviceStorage.getJson(key) as KeptLeave | undefined;
      if (error instanceof Refused && error.status === 422 && kept?.leave.report !== undefined) {
        // The server does not accept the report. Leaving does not depend on it.
        const { block } = kept.leave;
        keepLeave(api.side, sessionId, block === undefined ? {} : { block });
        return true;
      }
      deviceStorage.remove(key);
      api.onunknown();
      return false;
    },
  );
}
