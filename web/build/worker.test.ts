/** Runs the compiled service worker of shared/worker/ in a fake browser. */
import { runInNewContext } from 'node:vm';
import { beforeEach, expect, test, vi } from 'vitest';
import { compileWorker } from './shell.ts';

type Listener = (event: Record<string, unknown>) => void;
const showNotification = vi.fn<(title: string, options: Record<string, unknown>) => Promise<void>>();
const addAll = vi.fn<() => Promise<void>>();
const skipWaiting = vi.fn(() => Promise.resolve());
const match = vi.fn<() => Promise<Response | undefined>>();
const fetched = vi.fn<() => Promise<Response>>();
const deleteCache = vi.fn<(name: string) => Promise<boolean>>();
const setAppBadge = vi.fn<() => Promise<void>>();
/** The running time limits. */
let limits: { abort: () => void; milliseconds: number }[] = [];
let pages: { visibilityState: string }[] = [];
const registration = { showNotification, active: null as object | null };
const listeners = new Map<string, Listener>();

const code = await compileWorker({
  VERSION: '2',
  BASE: '/app/',
  APP_NAME: 'Curhat',
  FILES: ['/app/', '/app/assets/first.js'],
});

beforeEach(() => {
  vi.resetAllMocks();
  listeners.clear();
  registration.active = null;
  pages = [];
  limits = [];
  setAppBadge.mockResolvedValue();
  const self = {
    navigator: { setAppBadge } as { setAppBadge?: typeof setAppBadge },
    clients: { matchAll: () => Promise.resolve(pages) },
    addEventListener: (type: string, listener: Listener) => listeners.set(type, listener),
    registration,
    skipWaiting,
    location: { origin: 'https://curhat.example' },
  };
  const caches = { open: () => Promise.resolve({ addAll }), delete: deleteCache, match };
  class Request {
    readonly url: string;
    constructor(url: string) {
      this.url = url;
    }
  }
  runInNewContext(code, {
    self,
    caches,
    Request,
    URL,
    DOMException,
    AbortController,
    setTimeout: (abort: () => void, milliseconds: number) => {
      limits.push({ abort, milliseconds });
      return limits.length;
    },
    clearTimeout: (limit: number | undefined) => limit && delete limits[limit - 1],
    fetch: fetched,
  });
  deleteCache.mockResolvedValue(true);
});

/** Fires the event. Returns the promise that the worker passed to `waitUntil` or `respondWith`. */
async function fire(type: string, fields: Record<string, unknown> = {}): Promise<unknown> {
  let promise: unknown;
  const take = (given: unknown) => (promise = given);
  listeners.get(type)!({ ...fields, waitUntil: take, respondWith: take });
  return await promise;
}

const pushed = { type: 'message', title: 'Kak Sari', body: 'Pesan baru', topic: 'chat' };
const GENERAL = ['Curhat', expect.objectContaining({ body: 'Ada kabar baru. Buka aplikasinya.' })];

test('a push shows its notification', async () => {
  await fire('push', { data: { json: () => pushed } });
  expect(showNotification.mock.calls).toEqual([
    ['Kak Sari', expect.objectContaining({ body: 'Pesan baru', tag: 'chat', data: '/app/chat' })],
  ]);
});

test.each([
  ['matched', '/app/chat'],
  ['fallback_offered', '/app/search'],
  ['search_failed', '/app/failed'],
  ['decided', '/app/payments/0193'],
  ['refunded', '/app/payments/0193'],
  ['request_offered', '/app/'],
  ['a kind of a newer server', '/app/'],
])('a press on the notification of %s opens %s', async (type, path) => {
  await fire('push', { data: { json: () => ({ ...pushed, type, payment_id: '0193' }) } });
  expect(showNotification.mock.calls[0]![1]).toMatchObject({ data: path });
});

test.each([
  ['customer_message', '/app/chat/7'],
  ['extension_requested', '/app/chat/7'],
  ['request_offered', '/app/'],
])('a press on a mitra’s notification of %s opens %s', async (type, path) => {
  await fire('push', { data: { json: () => ({ ...pushed, type, session_id: '7' }) } });
  expect(showNotification.mock.calls[0]![1]).toMatchObject({ data: path });
});

test('a push sets the badge of a closed app, and not of an app that the person sees', async () => {
  await fire('push', { data: null });
  expect(setAppBadge).toHaveBeenCalledTimes(1);
  pages = [{ visibilityState: 'visible' }];
  await fire('push', { data: null });
  expect(setAppBadge).toHaveBeenCalledTimes(1);
  expect(showNotification).toHaveBeenCalledTimes(2);
});

test('a push shows its notification where the badge is refused', async () => {
  setAppBadge.mockRejectedValue(new DOMException('', 'NotAllowedError'));
  await fire('push', { data: null });
  expect(showNotification.mock.calls).toEqual([GENERAL]);
});

test.each([
  ['an empty push', null],
  ['a push that is not JSON', { json: () => JSON.parse('{') as unknown }],
  ['a push that is null', { json: () => null }],
])('%s shows a general notification', async (_, data) => {
  await fire('push', { data });
  expect(showNotification.mock.calls).toEqual([GENERAL]);
});

test('a notification that the browser refuses is replaced by a general notification', async () => {
  showNotification.mockRejectedValueOnce(new TypeError('renotify needs a tag'));
  await fire('push', { data: { json: () => ({ ...pushed, topic: '' }) } });
  expect(showNotification.mock.calls[1]).toEqual(GENERAL);
});

test('on a full disk, the first worker is installed without files, so that notifications arrive', async () => {
  addAll.mockRejectedValueOnce(new DOMException('', 'QuotaExceededError'));
  await fire('install');
  expect(deleteCache).toHaveBeenCalledWith('curhat:/app/:2');
  expect(skipWaiting).toHaveBeenCalled();
});

test('on a full disk, a later worker does not replace the worker that has its files', async () => {
  registration.active = {};
  addAll.mockRejectedValueOnce(new DOMException('', 'QuotaExceededError'));
  await expect(fire('install')).rejects.toThrow(DOMException);
  expect(deleteCache).toHaveBeenCalledWith('curhat:/app/:2');
  expect(skipWaiting).not.toHaveBeenCalled();
});

test('a lost network during the installation leaves nothing behind, and the browser tries again', async () => {
  addAll.mockRejectedValueOnce(new TypeError('Failed to fetch'));
  await expect(fire('install')).rejects.toThrow(TypeError);
  expect(deleteCache).toHaveBeenCalledWith('curhat:/app/:2');
});

test.each(['navigate', 'cors'])(
  'a cache that cannot be read (%s) is answered from the network',
  async (mode) => {
    match.mockRejectedValue(new DOMException('', 'UnknownError'));
    const answer = new Response('page');
    fetched.mockResolvedValue(answer);
    const request = { method: 'GET', mode, url: 'https://curhat.example/app/', cache: 'default' };
    expect(await fire('fetch', { request })).toBe(answer);
  },
);

test('the time limit of a page ends when its answer begins', async () => {
  match.mockResolvedValue(new Response('kept'));
  const answer = new Response('page');
  fetched.mockResolvedValue(answer);
  const request = { method: 'GET', mode: 'navigate', url: 'https://curhat.example/app/', cache: 'default' };
  expect(await fire('fetch', { request })).toBe(answer);
  expect(limits).toHaveLength(1);
  expect(Object.values(limits)).toEqual([]);
});

test('a request for the version of the server does not come from the cache', async () => {
  const request = { method: 'GET', mode: 'cors', url: 'https://curhat.example/app/', cache: 'no-store' };
  expect(await fire('fetch', { request })).toBeUndefined();
});
