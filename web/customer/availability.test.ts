import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { areOnlyOthersAvailable, isAvailable, pollAvailability } from './availability.svelte';

/** One poll. To simulate a late answer, the test can answer a poll that the client has already aborted. */
interface Poll {
  signal: AbortSignal;
  answer: (body: unknown, status?: number) => Promise<void>;
  fail: () => Promise<void>;
}

let polls: Poll[];
let polledPath = '/api/client/mitra-availability';
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  polls = [];
  vi.stubGlobal('fetch', (path: string, { signal }: { signal: AbortSignal }) => {
    expect(path).toBe(polledPath);
    return new Promise((resolve, reject) => {
      polls.push({
        signal,
        answer: async (body, status = 200) => {
          resolve(new Response(typeof body === 'string' ? body : JSON.stringify(body), { status }));
          await settle();
        },
        fail: async () => {
          reject(new TypeError('no network'));
          await settle();
        },
      });
    });
  });
  setVisibility('visible');
  stop = pollAvailability();
});

afterEach(() => {
  stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function settle(): Promise<unknown> {
  return vi.advanceTimersByTimeAsync(0);
}

function setVisibility(state: 'visible' | 'hidden'): void {
  vi.spyOn(document, 'visibilityState', 'get').mockReturnValue(state);
  document.dispatchEvent(new Event('visibilitychange'));
}

test('availability is not known before the first answer', async () => {
  expect(isAvailable()).toBeNull();
  await polls[0]!.answer({ available: true });
  expect(isAvailable()).toBe(true);
});

test('the client polls immediately, and then every 5 s', async () => {
  expect(polls).toHaveLength(1);
  await polls[0]!.answer({ available: true });
  await vi.advanceTimersByTimeAsync(4_999);
  expect(polls).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(polls).toHaveLength(2);
  await polls[1]!.answer({ available: false });
  expect(isAvailable()).toBe(false);
});

test.each([
  ['an error', { available: true }, 500],
  ['an answer without the field', {}, 200],
  ['a field that is not exactly true', { available: 1 }, 200],
  ['an answer that is no JSON', '<html>', 200],
])('%s means not available, whatever was known before', async (_, body, status) => {
  await polls[0]!.answer({ available: true });
  await vi.advanceTimersByTimeAsync(5_000);
  await polls[1]!.answer(body, status);
  expect(isAvailable()).toBe(false);
});

test('a lost network means that nobody is available', async () => {
  await polls[0]!.fail();
  expect(isAvailable()).toBe(false);
});

test('a poll without an answer after 4 s means that nobody is available', async () => {
  await polls[0]!.answer({ available: true });
  await vi.advanceTimersByTimeAsync(5_000);
  await vi.advanceTimersByTimeAsync(3_999);
  expect(polls[1]!.signal.aborted).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(polls[1]!.signal.aborted).toBe(true);
  await polls[1]!.fail();
  expect(isAvailable()).toBe(false);
});

test('a new poll aborts the previous poll', () => {
  setVisibility('visible');
  expect(polls.map(({ signal }) => signal.aborted)).toEqual([true, false]);
});

test('the client ignores an answer to an earlier poll', async () => {
  await vi.advanceTimersByTimeAsync(5_000);
  expect(polls[0]!.signal.aborted).toBe(true);
  await polls[1]!.answer({ available: false });
  await polls[0]!.answer({ available: true });
  expect(isAvailable()).toBe(false);
});

test('a page in the background does not poll, and forgets the last answer', async () => {
  await polls[0]!.answer({ available: true });
  setVisibility('hidden');
  expect(isAvailable()).toBeNull();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(polls).toHaveLength(1);
});

test('the client ignores an answer that arrives in the background', async () => {
  setVisibility('hidden');
  await polls[0]!.answer({ available: true });
  expect(isAvailable()).toBeNull();
});

test('a page that returns to the foreground polls immediately, and then every 5 s', async () => {
  setVisibility('hidden');
  setVisibility('visible');
  expect(polls).toHaveLength(2);
  await polls[1]!.answer({ available: true });
  expect(isAvailable()).toBe(true);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(polls).toHaveLength(3);
});

test('nobody is available as soon as the browser goes offline', async () => {
  await polls[0]!.answer({ available: true });
  await vi.advanceTimersByTimeAsync(5_000);
  dispatchEvent(new Event('offline'));
  expect(isAvailable()).toBe(false);
  await polls[1]!.answer({ available: true });
  expect(isAvailable()).toBe(false);
});

test('the client polls immediately when the network returns', async () => {
  dispatchEvent(new Event('offline'));
  dispatchEvent(new Event('online'));
  await polls[1]!.answer({ available: true });
  expect(isAvailable()).toBe(true);
});

test('the client neither polls nor listens after the screen was closed', async () => {
  await polls[0]!.answer({ available: true });
  await vi.advanceTimersByTimeAsync(5_000);
  stop();
  expect(isAvailable()).toBeNull();
  await polls[1]!.answer({ available: true });
  setVisibility('visible');
  dispatchEvent(new Event('online'));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(polls).toHaveLength(2);
  expect(isAvailable()).toBeNull();
  dispatchEvent(new Event('offline'));
  expect(isAvailable()).toBeNull();
});

test.each([
  [{ status: 'available', other_available: false }, true, false],
  [{ status: 'full', other_available: true }, true, true],
  [{ status: 'offline', other_available: true }, true, true],
  [{ status: 'offline', other_available: false }, false, false],
])(
  'with a chosen mitra, the client polls the status of this mitra: %o',
  async (body, available, onlyOthers) => {
    stop();
    polledPath = '/api/client/mitras/m1/status';
    stop = pollAvailability('m1');
    await polls[1]!.answer(body);
    expect(isAvailable()).toBe(available);
    expect(areOnlyOthersAvailable()).toBe(onlyOthers);
    polledPath = '/api/client/mitra-availability';
  },
);
