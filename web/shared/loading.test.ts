import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Refused } from './api/client';
import { Loading } from './loading.svelte';
import { Pages } from './pages.svelte';
import { shared } from './words/shared';

const step = vi.fn<() => Promise<void>>();
const noAnswer = new Refused('unreachable', 0);

beforeEach(() => {
  vi.useFakeTimers();
  step.mockReset();
});

afterEach(() => {
  vi.useRealTimers();
});

function settle(): Promise<unknown> {
  return vi.advanceTimersByTimeAsync(0);
}

test('a screen that was opened without a network fills when the network is back', async () => {
  step.mockRejectedValueOnce(noAnswer).mockResolvedValueOnce();
  const loading = new Loading(step);
  loading.start();
  await settle();
  expect(loading.problem).toBe(shared().errors.unreachable);
  dispatchEvent(new Event('online'));
  await settle();
  expect(loading.problem).toBe('');
  expect(step).toHaveBeenCalledTimes(2);
});

test('a screen loads again when the person returns to it, and by itself', async () => {
  step.mockRejectedValue(noAnswer);
  const loading = new Loading(step);
  loading.start();
  await settle();
  document.dispatchEvent(new Event('visibilitychange'));
  await settle();
  expect(step).toHaveBeenCalledTimes(2);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(step).toHaveBeenCalledTimes(3);
});

test('a screen that was closed does not load again', async () => {
  step.mockRejectedValue(noAnswer);
  const stop = new Loading(step).start();
  await settle();
  stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(step).toHaveBeenCalledTimes(1);
});

test('a final refusal is not repeated, and the person can load again', async () => {
  step.mockRejectedValueOnce(new Refused('forbidden', 403)).mockResolvedValueOnce();
  const loading = new Loading(step);
  loading.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(step).toHaveBeenCalledTimes(1);
  loading.load();
  await settle();
  expect(loading.problem).toBe('');
});

test('a press during a pause loads once', async () => {
  step.mockRejectedValueOnce(noAnswer).mockResolvedValue();
  const loading = new Loading(step);
  loading.start();
  await settle();
  loading.load();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(step).toHaveBeenCalledTimes(2);
});

test('a list continues with the page that failed', async () => {
  const fetch = vi
    .fn<(query: { cursor?: string }) => Promise<{ items: number[]; next_cursor: string | null }>>()
    .mockResolvedValueOnce({ items: [1], next_cursor: 'after 1' })
    .mockRejectedValueOnce(noAnswer)
    .mockResolvedValueOnce({ items: [2], next_cursor: null });
  const pages = new Pages(fetch);
  pages.start();
  await settle();
  expect([pages.items, pages.hasMore]).toEqual([[1], true]);
  pages.load();
  await settle();
  dispatchEvent(new Event('online'));
  await settle();
  expect([pages.items, pages.hasMore]).toEqual([[1, 2], false]);
  expect(fetch.mock.calls).toEqual([[{}], [{ cursor: 'after 1' }], [{ cursor: 'after 1' }]]);
});
