import { afterEach, beforeEach, expect, test, vi } from 'vitest';

const HOUR_MS = 3_600_000;
const fetched = vi.fn<typeof fetch>();

beforeEach(() => {
  vi.useFakeTimers();
  vi.resetModules();
  fetched.mockReset();
  vi.stubGlobal('fetch', fetched);
  const script = { src: 'https://curhat.example/app/assets/first-AAAAAAAA.js' };
  vi.spyOn(document, 'querySelector').mockReturnValue(script as HTMLScriptElement);
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/**
 * Opens a page. From now on, the fake server answers with a page that contains this text. Returns whether the open page
 * shows that it is out of date.
 */
async function isOutdatedAfter(milliseconds: number, text: string): Promise<boolean> {
  fetched.mockImplementation(() => Promise.resolve(new Response(text)));
  const { hasNewVersion, watchVersion } = await import('./version.svelte');
  watchVersion();
  await vi.advanceTimersByTimeAsync(milliseconds);
  return hasNewVersion();
}

const page = (script: string) => `<div id="app"></div><script type="module" src="/app/assets/${script}">`;

test('a page that is open for hours notices a new version', async () => {
  expect(await isOutdatedAfter(HOUR_MS, page('first-BBBBBBBB.js'))).toBe(true);
});

test('the same version is not called new', async () => {
  expect(await isOutdatedAfter(24 * HOUR_MS, page('first-AAAAAAAA.js'))).toBe(false);
  expect(fetched.mock.calls[0]![1]).toMatchObject({ cache: 'no-store' });
});

test('the page of a proxy is not called a new version', async () => {
  expect(await isOutdatedAfter(HOUR_MS, '<h1>Bad Gateway</h1>')).toBe(false);
});

test('a page asks at most twice an hour, however often the person returns to it', async () => {
  const outdated = isOutdatedAfter(HOUR_MS, page('first-AAAAAAAA.js'));
  for (let count = 0; count < 50; count++) document.dispatchEvent(new Event('visibilitychange'));
  expect(await outdated).toBe(false);
  expect(fetched).toHaveBeenCalledTimes(2);
});
