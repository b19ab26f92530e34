import { describe, expect, test } from 'vitest';
import type { Pairing, Payment, Session } from './journey.svelte';
import { changesScreen, fittingPath, pathOf, stageOf, type JourneyState, type Stage } from './places';

const NOTHING: JourneyState = {
  payment: null,
  pairing: null,
  session: null,
  endedSession: null,
  closedPayment: null,
};

function payment(status: Payment['status']): Payment {
  return { id: 'payment', status } as Payment;
}

function pairing(status: Pairing['status']): Pairing {
  return { id: 'pairing', status } as Pairing;
}

function session(id: string): Session {
  return { id } as Session;
}

/** A sample journey for each stage. */
const IN_STAGE: Record<Stage, JourneyState> = {
  none: NOTHING,
  paying: { ...NOTHING, payment: payment('pending') },
  searching: { ...NOTHING, payment: payment('confirmed'), pairing: pairing('open') },
  choosing: { ...NOTHING, payment: payment('confirmed'), pairing: pairing('failed') },
  failed: { ...NOTHING, payment: payment('unserved'), pairing: pairing('failed') },
  chatting: {
    ...NOTHING,
    payment: payment('confirmed'),
    pairing: pairing('matched'),
    session: session('running'),
  },
};
const STAGES = Object.keys(IN_STAGE) as Stage[];

describe('the stage of the journey', () => {
  test.each(STAGES)('%s is found', (stage) => {
    expect(stageOf(IN_STAGE[stage])).toBe(stage);
  });

  test('a payment that is being confirmed has the stage "paying"', () => {
    expect(stageOf({ ...NOTHING, payment: payment('confirming') })).toBe('paying');
  });

  test('a confirmed payment without a known pairing has the stage "searching"', () => {
    expect(stageOf({ ...NOTHING, payment: payment('confirmed') })).toBe('searching');
  });

  test('a running session has the stage "chatting", even if its payment is not known', () => {
    expect(stageOf({ ...NOTHING, session: session('running') })).toBe('chatting');
  });

  test('a journey with a running session has the stage "chatting", even if its payment has failed', () => {
    expect(stageOf({ ...IN_STAGE.failed, session: session('running') })).toBe('chatting');
  });
});

test('each stage has its path', () => {
  expect(STAGES.map((stage) => [stage, pathOf(stage)])).toEqual([
    ['none', '/'],
    ['paying', '/payment'],
    ['searching', '/search'],
    ['choosing', '/search'],
    ['failed', '/failed'],
    ['chatting', '/chat'],
  ]);
});

/**
 * For each path, the stages in which a person can stay on the path. In a stage that is not listed for a path, the
 * person goes from the path to the stage's own path.
 */
const STAYS: Record<string, Stage[]> = {
  '/payment': ['none', 'paying', 'failed'],
  '/again/session': ['none', 'paying', 'failed'],
  '/search': ['searching', 'choosing'],
  '/failed': ['failed'],
  '/chat': ['chatting'],
  '/history': STAGES,
  '/history/other': STAGES,
  '/profile': STAGES,
  '/notices': STAGES,
  '/': STAGES,
};

describe.each(Object.keys(STAYS))('a person at %s', (path) => {
  test.each(STAGES)('stays there in the stage %s, or goes to its screen', (stage) => {
    const expected = STAYS[path]!.includes(stage) ? path : pathOf(stage);
    expect(fittingPath(path, IN_STAGE[stage])).toBe(expected);
  });
});

describe('a session that has just ended', () => {
  const ended = { ...NOTHING, endedSession: session('ended') };

  test.each(['/chat', '/search', '/failed', '/unknown'])('moves a person at %s to its chat', (path) => {
    expect(fittingPath(path, ended)).toBe('/history/ended');
  });

  test.each(['/', '/profile', '/history', '/payment'])('leaves a person at %s there', (path) => {
    expect(fittingPath(path, ended)).toBe(path);
  });

  test('does not replace the screen of the next journey', () => {
    expect(fittingPath('/chat', { ...IN_STAGE.searching, endedSession: session('ended') })).toBe('/search');
  });
});

test('the history opens the running session in its chat', () => {
  expect(fittingPath('/history/running', IN_STAGE.chatting)).toBe('/chat');
});

test('a refunded payment still has the screen of its failure', () => {
  expect(fittingPath('/failed', { ...NOTHING, closedPayment: payment('refunded') })).toBe('/failed');
});

test('an expired payment has no failure screen', () => {
  expect(fittingPath('/failed', { ...NOTHING, closedPayment: payment('expired') })).toBe('/');
});

test('an unknown path leads to the first screen', () => {
  for (const stage of STAGES) expect(fittingPath('/unknown', IN_STAGE[stage])).toBe('/');
});

describe('a new stage', () => {
  test.each(['/', '/payment', '/history', '/profile'])('of a chat changes the screen at %s', (path) => {
    expect(changesScreen(path, 'chatting')).toBe(true);
  });

  test.each(['searching', 'choosing', 'failed'] as const)('%s changes only the first screen', (stage) => {
    expect(changesScreen('/', stage)).toBe(true);
    expect(changesScreen('/profile', stage)).toBe(false);
    expect(changesScreen('/history', stage)).toBe(false);
  });

  test.each(['none', 'paying'] as const)('%s changes no screen', (stage) => {
    expect(changesScreen('/', stage)).toBe(false);
  });
});
