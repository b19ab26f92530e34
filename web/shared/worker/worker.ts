/**
 * The service worker of a client. It opens the app without a network or on a slow network, and shows notifications.
 *
 * This file becomes a classic script. The build adds the constants below at the beginning of the script, and refuses
 * import and export. A page comes from the network if the network answers in time, so a new version appears at the next
 * visit. The files that a page loads have a hash in their name, and come from the cache. The service worker does not
 * handle requests to /api/.
 */
declare const VERSION: string;
declare const BASE: string;
declare const FILES: string[];

const worker = self as unknown as ServiceWorkerGlobalScope;
const PREFIX = `curhat:${BASE}:`;
const CACHE = PREFIX + VERSION;
const PAGE_TIMEOUT_MS = 2500;

worker.addEventListener('install', (event) => {
  event.waitUntil(cacheFiles());
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(deleteOldCaches());
});

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== worker.location.origin || !url.pathname.startsWith(BASE))
    return;
  if (request.mode === 'navigate') event.respondWith(fetchPage(request));
  else event.respondWith(fetchFile(request));
});

worker.addEventListener('push', (event) => {
  // This type is PushPayload of the contract. A classic script cannot import the generated type.
  const pushed = event.data?.json() as { type: string; title: string; body: string; topic: string };
  event.waitUntil(showNotification(pushed));
});

worker.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(openApp(event.notification.data as string));
});

async function showNotification(pushed: {
  type: string;
  title: string;
  body: string;
  topic: string;
}): Promise<void> {
  // TypeScript's type lacks `renotify`.
  const options: NotificationOptions & { renotify: boolean } = {
    body: pushed.body,
    // A notification replaces the previous notification of its topic. `renotify` makes the phone ring again.
    tag: pushed.topic,
    renotify: true,
    icon: `${BASE}icons/icon-192.png`,
    // For a match or a message, open the chat's screen, which finds the running session. For any other push, open the
    // first screen.
    data: ['matched', 'message'].includes(pushed.type) ? `${BASE}chat` : BASE,
  };
  await worker.registration.showNotification(pushed.title, options);
}

/**
 * Focuses the app if it is open, and otherwise opens it. In an open app, only a push about a chat changes the screen.
 * For a card, no change is needed, because all screens show cards.
 */
async function openApp(path: string): Promise<void> {
  const pages = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const appPage = pages.find((page) => new URL(page.url).pathname.startsWith(BASE));
  if (appPage === undefined) {
    await worker.clients.openWindow(path);
    return;
  }
  if (path !== BASE) appPage.postMessage({ go: path });
  await appPage.focus();
}

async function cacheFiles(): Promise<void> {
  const cache = await caches.open(CACHE);
  // Do not use the browser's own cache, because the page and its files must have the same version.
  await cache.addAll(FILES.map((path) => new Request(path, { cache: 'no-cache' })));
  await worker.skipWaiting();
}

/**
 * Deletes old caches. Keeps the cache of the previous version, because an open page of that version may still load a
 * screen.
 */
async function deleteOldCaches(): Promise<void> {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  for (const name of old.slice(0, -1)) await caches.delete(name);
  await worker.clients.claim();
}

/** Fetches a page. If the network fails or takes too long, returns the cached page. */
async function fetchPage(request: Request): Promise<Response> {
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

async function fetchFile(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? fetch(request);
}
