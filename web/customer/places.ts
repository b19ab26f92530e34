/** Which screen belongs to where the journey stands. */
import type { Pairing, Payment, Session } from './journey.svelte';

/** `choosing`: the chosen mitra could not come, and the customer decides whether another one may (3.5). */
export type Stage = 'none' | 'paying' | 'searching' | 'choosing' | 'failed' | 'chatting';

export interface Standing {
  payment: Payment | null;
  pairing: Pairing | null;
  session: Session | null;
  ended: Session | null;
  over: Payment | null;
}

export function stageOf({ payment, pairing, session }: Standing): Stage {
  if (session !== null) return 'chatting';
  if (payment === null) return 'none';
  if (payment.status === 'unserved') return 'failed';
  if (payment.status !== 'confirmed') return 'paying';
  return pairing?.status === 'failed' ? 'choosing' : 'searching';
}

const PLACES: Record<Stage, string> = {
  none: '/',
  paying: '/payment',
  searching: '/search',
  choosing: '/search',
  failed: '/failed',
  chatting: '/chat',
};

export function placeOf(stage: Stage): string {
  return PLACES[stage];
}

/** Where somebody who is at `path` belongs now: `path` itself, unless the journey has left it behind. */
export function rightPlace(path: string, standing: Standing): string {
  const stage = stageOf(standing);
  const { ended, over, session } = standing;
  switch (path.split('/')[1]) {
    case 'payment':
    case 'again':
      return stage === 'none' || stage === 'paying' || stage === 'failed' ? path : placeOf(stage);
    case 'search':
      return stage === 'searching' || stage === 'choosing' ? path : afterwards(standing);
    case 'failed':
      return stage === 'failed' || over?.status === 'refunded' ? path : afterwards(standing);
    case 'chat':
      return stage === 'chatting' ? path : afterwards(standing);
    case 'history':
      return session !== null && path === `/history/${session.id}` ? '/chat' : path;
    case '':
    case 'profile':
      return path;
    default:
      return ended === null ? '/' : afterwards(standing);
  }
}

function afterwards(standing: Standing): string {
  const stage = stageOf(standing);
  return stage === 'none' && standing.ended !== null ? `/history/${standing.ended.id}` : placeOf(stage);
}

/** Whether the journey's next stage takes somebody who is at `path` along. A chat's time runs: it always does. */
export function isTakenAlong(path: string, stage: Stage): boolean {
  if (stage === 'chatting') return true;
  return path === '/' && stage !== 'none' && stage !== 'paying';
}
