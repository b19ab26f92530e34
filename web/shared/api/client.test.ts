import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { errorText, shared } from '../words/shared';
import { api, isTemporary, Refused } from './client';

const fetched = vi.fn<typeof fetch>();

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('fetch', fetched);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function refusal(): Promise<Refused> {
  return api.get('/api/client/me').then(
    () => expect.fail('the call succeeded'),
    (error: unknown) => error as Refused,
  );
}

test('a fetch that fails is called a missing connection', async () => {
  fetched.mockRejectedValueOnce(new TypeError('Failed to fetch'));
  const error = await refusal();
  expect(error.code).toBe('unreachable');
  expect(errorText(error)).toBe(shared().errors.unreachable);
});

test('an answer that is late is not called a missing connection while the browser has a network', async () => {
  fetched.mockImplementationOnce(
    (_, options) =>
      new Promise((_, reject) => {
        options!.signal!.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
      }),
  );
  const error = refusal();
  await vi.advanceTimersByTimeAsync(15_000);
  expect((await error).code).toBe('unreachable');
  expect(errorText(await error)).toBe(shared().errors.timedOut);
});

test.each([
  [502, '<h1>Bad Gateway</h1>', 'failed'],
  [500, '', 'failed'],
  [200, '<h1>Welcome to the hotel</h1>', 'unreachable'],
])('an answer %i with the body %j is `%s`, and can pass', async (status, body, code) => {
  fetched.mockResolvedValueOnce(new Response(body, { status }));
  const error = await refusal();
  expect(error.code).toBe(code);
  expect(isTemporary(error)).toBe(true);
});

test('a mistake of the app is not called a missing connection', async () => {
  vi.stubGlobal('AbortController', undefined);
  const error = await refusal();
  expect(error).toBeInstanceOf(TypeError);
  expect(errorText(error)).toBe(shared().errors.other);
  expect(isTemporary(error)).toBe(false);
});
