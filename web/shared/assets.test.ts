import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { reloadAfter } from './assets';

const MISSING = new TypeError(
  'Failed to fetch dynamically imported module: https://curhat.example/app/assets/Chat-AAAAAAAA.js',
);
const probe = vi.fn<typeof fetch>();
const reload = vi.fn();

beforeEach(() => {
  vi.useFakeTimers();
  sessionStorage.clear();
  probe.mockReset();
  reload.mockReset();
  vi.stubGlobal('fetch', probe);
  vi.spyOn(location, 'reload').mockImplementation(reload);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

test('a file that the new version no longer has reloads the page once', async () => {
  probe.mockResolvedValue(new Response('', { status: 404 }));
  expect(await reloadAfter(MISSING)).toBeUndefined();
  expect(probe.mock.calls[0]![0]).toBe('https://curhat.example/app/assets/Chat-AAAAAAAA.js');
  expect(reload).toHaveBeenCalledTimes(1);
  expect(await reloadAfter(MISSING)).toBe('missing');
  expect(reload).toHaveBeenCalledTimes(1);
});

test('the person can reload a second time', async () => {
  probe.mockResolvedValue(new Response('', { status: 404 }));
  await reloadAfter(MISSING);
  expect(await reloadAfter(MISSING, true)).toBeUndefined();
  expect(reload).toHaveBeenCalledTimes(2);
});

test('a day later, the page reloads by itself again', async () => {
  probe.mockResolvedValue(new Response('', { status: 404 }));
  await reloadAfter(MISSING);
  vi.advanceTimersByTime(24 * 3_600_000);
  expect(await reloadAfter(MISSING)).toBeUndefined();
});

test('without a network the page does not reload', async () => {
  probe.mockRejectedValue(new TypeError('Failed to fetch'));
  expect(await reloadAfter(MISSING, true)).toBe('unreachable');
  expect(reload).not.toHaveBeenCalled();
});

test('while the server is broken the page does not reload', async () => {
  probe.mockResolvedValue(new Response('', { status: 502 }));
  expect(await reloadAfter(MISSING)).toBe('other');
  expect(reload).not.toHaveBeenCalled();
});

test('a browser that keeps nothing does not reload by itself, because it could reload for ever', async () => {
  probe.mockResolvedValue(new Response('', { status: 404 }));
  vi.stubGlobal('sessionStorage', undefined);
  expect(await reloadAfter(MISSING)).toBe('missing');
  expect(reload).not.toHaveBeenCalled();
});

test('an error that names no file asks for the page', async () => {
  probe.mockResolvedValue(new Response(''));
  await reloadAfter(new TypeError('Importing a module script failed.'));
  expect(probe.mock.calls[0]![0]).toBe(import.meta.env.BASE_URL);
});

test('a style that is missing is found in the error of the preload', async () => {
  probe.mockResolvedValue(new Response(''));
  await reloadAfter(new Error('Unable to preload CSS for /app/assets/Chat-BBBBBBBB.css'));
  expect(probe.mock.calls[0]![0]).toBe('/app/assets/Chat-BBBBBBBB.css');
});
