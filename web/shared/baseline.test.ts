import { afterEach, expect, test, vi } from 'vitest';
import { findLast, lastOf, randomId, timeoutSignal } from './baseline';

afterEach(() => {
  vi.useRealTimers();
});

test('lastOf returns the last item, or undefined', () => {
  expect(lastOf([1, 2, 3])).toBe(3);
  expect(lastOf([])).toBeUndefined();
});

test('findLast returns the last item that matches, and does not change the list', () => {
  const list = [1, 2, 3, 4];
  expect(findLast(list, (item) => item % 2 === 1)).toBe(3);
  expect(list).toEqual([1, 2, 3, 4]);
  expect(findLast(list, (item) => item > 4)).toBeUndefined();
});

test('randomId returns a new UUID of version 4 each time', () => {
  const ids = new Set(Array.from({ length: 100 }, randomId));
  expect(ids.size).toBe(100);
  for (const id of ids)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test('timeoutSignal aborts after the given time', () => {
  vi.useFakeTimers();
  const signal = timeoutSignal(1_000);
  vi.advanceTimersByTime(999);
  expect(signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(signal.aborted).toBe(true);
});
