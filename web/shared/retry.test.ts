import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { retryUntilDone } from './retry';

const attempt = vi.fn<() => Promise<void>>();

beforeEach(() => {
  vi.useFakeTimers();
  attempt.mockReset();
});

afterEach(() => {
  vi.useRealTimers();
});

test('an attempt that succeeds runs once', async () => {
  attempt.mockResolvedValue();
  await retryUntilDone(attempt, () => true);
  expect(attempt).toHaveBeenCalledTimes(1);
});

test('the pauses between failed attempts double from 1 s to 10 s', async () => {
  const pauses = [1_000, 2_000, 4_000, 8_000, 10_000, 10_000];
  attempt.mockRejectedValue(new Error());
  const done = retryUntilDone(attempt, () => attempt.mock.calls.length <= pauses.length);
  await vi.advanceTimersByTimeAsync(0);
  for (const [index, pause] of pauses.entries()) {
    await vi.advanceTimersByTimeAsync(pause - 1);
    expect(attempt).toHaveBeenCalledTimes(index + 1);
    await vi.advanceTimersByTimeAsync(1);
    expect(attempt).toHaveBeenCalledTimes(index + 2);
  }
  await done;
});

test('the return of the network ends a pause', async () => {
  attempt.mockRejectedValueOnce(new Error()).mockResolvedValueOnce();
  const done = retryUntilDone(attempt, () => true);
  await vi.advanceTimersByTimeAsync(0);
  dispatchEvent(new Event('online'));
  await done;
  expect(attempt).toHaveBeenCalledTimes(2);
});

test('a final failure ends the attempts', async () => {
  const refusal = new Error('refused');
  attempt.mockRejectedValue(refusal);
  const canRetry = vi.fn(() => false);
  await retryUntilDone(attempt, canRetry);
  expect(canRetry).toHaveBeenCalledWith(refusal);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(attempt).toHaveBeenCalledTimes(1);
});
