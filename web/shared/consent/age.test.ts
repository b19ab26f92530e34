import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { deviceStorage } from '../storage';
import { birthYearOf, isMinor, rememberRefusal, wasRefused } from './age';

beforeEach(() => {
  vi.useFakeTimers();
  vi.setSystemTime(new Date('2026-06-15T00:00:00Z'));
});

afterEach(() => {
  vi.useRealTimers();
  deviceStorage.remove('curhat:adults-only-until');
});

test.each([
  ['1990', 1990],
  [' 2026 ', 2026],
  ['1900', 1900],
  ['1899', undefined],
  ['2027', undefined],
  ['90', undefined],
  ['19900', undefined],
  ['abcd', undefined],
  ['', undefined],
])('the written year %j is %s', (written, year) => {
  expect(birthYearOf(written)).toBe(year);
});

test('only a year that allows the age of 18 is the year of an adult', () => {
  expect([2007, 2008, 2009, 2026].map(isMinor)).toEqual([false, false, true, true]);
});

test('the year of Jakarta counts', () => {
  vi.setSystemTime(new Date('2026-12-31T18:00:00Z'));
  expect(isMinor(2009)).toBe(false);
});

test('a refusal is remembered for a day, and not longer', () => {
  expect(wasRefused()).toBe(false);
  rememberRefusal();
  vi.advanceTimersByTime(23 * 60 * 60 * 1000);
  expect(wasRefused()).toBe(true);
  vi.advanceTimersByTime(60 * 60 * 1000);
  expect(wasRefused()).toBe(false);
});

test('a clock that is set back does not make the refusal longer', () => {
  rememberRefusal();
  vi.setSystemTime(new Date('2026-06-01T00:00:00Z'));
  expect(wasRefused()).toBe(false);
});
