/**
 * Decides which screen belongs to the state of the journey. Paths are below the client's own path, such as `/payment`.
 */
import type { Pairing, Payment, Session } from './journey.svelte';

/** `choosing`: the chosen mitra did not accept, and the customer decides whether to ask other mitras (3.5). */
export type Stage = 'none' | 'paying' | 'searching' | 'choosing' | 'failed' | 'chatting';

export interface JourneyState {
  payment: Payment | null;
  pairing: Pairing | null;
  session: Session | null;
  /** The session that ended while this page showed it. */
  endedSession: Session | null;
  /** The payment that expired or was refunded while this page showed it. */
  closedPayment: Payment | null;
}

export function stageOf({ payment, pairing, session }: JourneyState): Stage {
  if (session !== null) return 'chatting';
  if (payment === null) return 'none';
  if (payment.status === 'unserved') return 'failed';
  if (payment.status !== 'confirmed') return 'paying';
  return pairing?.status === 'failed' ? 'choosing' : 'searching';
}

const PATHS: Record<Stage, string> = {
  none: '/',
  paying: '/payment',
  searching: '/search',
  choosing: '/search',
  failed: '/failed',
  chatting: '/chat',
};

export function pathOf(stage: Stage): string {
  return PATHS[stage];
}

/**
 * Returns `path` if its screen fits the state of the journey, or else the path of a screen that fits.
 */
export function fittingPath(path: string, state: JourneyState): string {
  const stage = stageOf(state);
  const { endedSession, closedPayment, session } = state;
  switch (path.split('/')[1]) {
    case 'payment':
    case 'again':
      return stage === 'none' || stage === 'paying' || stage === 'failed' ? path : pathOf(stage);
    case 'search':
      return stage === 'searching' || stage === 'choosing' ? path : nextPath(state);
    case 'failed':
      return stage === 'failed' || closedPayment?.status === 'refunded' ? path : nextPath(state);
    case 'chat':
      return stage === 'chatting' ? path : nextPath(state);
    case 'history':
      return session !== null && path === `/history/${session.id}` ? '/chat' : path;
    case '':
    case 'notices':
    case 'payments':
    case 'profile':
      return path;
    default:
      return endedSession === null ? '/' : nextPath(state);
  }
}

/**
 * Returns the path of the stage. Returns the path of the chat if a session has just ended and no new journey has begun.
 */
function nextPath(state: JourneyState): string {
  const stage = stageOf(state);
  return stage === 'none' && state.endedSession !== null
    ? `/history/${state.endedSession.id}`
    : pathOf(stage);
}

/**
 * Returns whether a new stage changes the screen of a person who is at `path`. A new chat always changes the screen,
 * because the paid time of the chat is already running.
 */
export function changesScreen(path: string, stage: Stage): boolean {
  if (stage === 'chatting') return true;
  return path === '/' && stage !== 'none' && stage !== 'paying';
}
