/**
 * The service worker of a client: opens the app without a network, and quickly on a bad one; shows what is pushed.
 *
 * A classic script: the build puts the constants below in front of it, and refuses import and export.
 * Pages come from the network when it answers in time, so that a new version shows at the next opening; what a page
 * is made of has its hash in its name and comes from the cache. Nothing of /api/ ever goes through here.
 */
declare const VERSION: string;
declare const BASE: string;
declare const FILES: string[];

const worker = self as unknown as ServiceWorkerGlobalScope;
const PREFIX = `curhat:${BASE}:`;
const CACHE = PREFIX + VERSION;
const PAGE_TIMEOUT_MS = 2500;

worker.addEventListener('install', (event) => {
  event.waitUntil(keepFiles());
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(letOldFilesGo());
});

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== worker.location.origin || !url.pathname.startsWith(BASE))
    return;
  if (request.mode === 'navigate') event.respondWith(page(request));
  else event.respondWith(file(request));
});

worker.addEventListener('push', (event) => {
  // Typed by hand: a classic script imports nothing. Its shape is the contract's PushPayload.
  const pushed = event.data?.json() as { type: string; title: string; body: string; topic: string };
  event.waitUntil(show(pushed));
});

worker.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data as string));
});

async function show(pushed: { type: string; title: string; body: string; topic: string }): Promise<void> {
  // The library's type does not know `renotify` yet.
  const options: NotificationOptions & { renotify: boolean } = {
    body: pushed.body,
    // One of the same topic takes the place of the one before it, and calls again.
    tag: pushed.topic,
    renotify: true,
    icon: `${BASE}icons/icon-192.png`,
    // A session's screen finds the session; all else is on the first one.
    data: ['matched', 'message'].includes(pushed.type) ? `${BASE}chat` : BASE,
  };
  await worker.registration.showNotification(pushed.title, options);
}

/** To the app if it is open, wherever it is in it, unless there is one place to be: cards are shown everywhere. */
async function open(path: string): Promise<void> {
  const pages = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const ours = pages.find((page) => new URL(page.url).pathname.startsWith(BASE));
  if (ours === undefined) {
    await worker.clients.openWindow(path);
    return;
  }
  if (path !== BASE) ours.postMessage({ go: path });
  await ours.focus();
}

async function keepFiles(): Promise<void> {
  const cache = await caches.open(CACHE);
  // Past the browser's own cache: the page must belong to the files.
  await cache.addAll(FILES.map((path) => new Request(path, { cache: 'no-cache' })));
  await worker.skipWaiting();
}

/** Keeps the version before this one as well: a page of it may be open and still load a screen. */
async function letOldFilesGo(): Promise<void> {
  const ours = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  for (const name of ours.slice(0, -1)) await caches.delete(name);
  await worker.clients.claim();
}

async function page(request: Request): Promise<Response> {
  const kept = await caches.match(BASE, { cacheName: CACHE });
  try {
    const controller = new AbortController();
    if (kept) setTimeout(() => controller.abort(), PAGE_TIMEOUT_MS);
    const answer = await fetch(request, { signal: controller.signal });
    if (answer.ok || !kept) return answer;
  } catch (error) {
    if (!kept) throw error;
  }
  return kept;
}

async function file(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? fetch(request);
}
