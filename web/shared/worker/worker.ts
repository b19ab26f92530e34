/**
 * The service worker of a client. The worker opens the app without a network or on a slow network, and shows
 * notifications.
 *
 * This file becomes a classic script. The build adds the constants below at the beginning of the script. The
 * build fails if the script has an `import` or an `export`. If the network answers in time, a page comes from the network, so a new version appears at the
 * next visit. The files that a page loads have a hash in their names, so they come from the cache. The service worker
 * does not handle requests to /api/.
 */
declare const VERSION: string;
declare const BASE: string;
declare const APP_NAME: string;
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
  // With `no-store`, the page asks for the server's version of the client, so the cache must not answer.
  if (request.cache === 'no-store') return;
  if (request.mode === 'navigate') event.respondWith(fetchPage(request));
  else event.respondWith(fetchFile(request));
});

worker.addEventListener('push', (event) => {
  event.waitUntil(Promise.all([handlePush(event.data), showBadge()]));
});

worker.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(openApp((event.notification.data as string | null) ?? BASE));
});

/** PushPayload of the contract. A classic script cannot import the generated type. */
interface PushPayload {
  type: string;
  title: string;
  body: string;
  topic: string;
  payment_id?: string;
  session_id?: string;
}

/** The pushes to a mitra that open the chat of their session. A mitra can have several chats. */
const OPENS_ITS_CHAT = ['customer_message', 'extension_requested'];

/**
 * The customer's screen that a press on a notification opens. Any other push opens the first screen: the mitra's first
 * screen shows the chats, the cards and the requests for more time. If the screen does not fit the journey by then, the
 * app shows the one that fits (customer/places.ts).
 */
const SCREENS: Partial<Record<string, string>> = {
  matched: 'chat',
  message: 'chat',
  fallback_offered: 'search',
  search_failed: 'failed',
};

/** Returns the screen of a push. What the team decided and what came back stands on the page of the payment. */
function screenOf({ type, payment_id, session_id }: PushPayload): string {
  if (OPENS_ITS_CHAT.includes(type) && session_id !== undefined) return `chat/${session_id}`;
  if (type === 'decided' || type === 'refunded') return payment_id ? `payments/${payment_id}` : 'payments';
  return SCREENS[type] ?? '';
}

/**
 * Shows a notification for each push, even if the push is empty or unreadable. If a push shows no notification, the
 * browser shows a warning of its own, and later deletes the subscription.
 */
async function handlePush(data: PushMessageData | null): Promise<void> {
  try {
    await showNotification(data?.json() as PushPayload);
  } catch {
    await worker.registration.showNotification(APP_NAME, {
      body: 'Ada kabar baru. Buka aplikasinya.',
      tag: 'general',
      icon: `${BASE}icons/icon-192.png`,
    });
  }
}

/** Marks the icon of the app. When the person opens the app, shared/push/ removes the mark. Few browsers can. */
async function showBadge(): Promise<void> {
  const pages = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
  if (pages.some((page) => page.visibilityState === 'visible')) return;
  await worker.navigator.setAppBadge?.().catch(() => undefined);
}

async function showNotification(pushed: PushPayload): Promise<void> {
  // TypeScript's type lacks `renotify`.
  const options: NotificationOptions & { renotify: boolean } = {
    body: pushed.body,
    // A notification replaces the previous notification of its topic. `renotify` makes the phone ring again.
    tag: pushed.topic,
    renotify: true,
    icon: `${BASE}icons/icon-192.png`,
    data: BASE + screenOf(pushed),
  };
  await worker.registration.showNotification(pushed.title, options);
}

/**
 * Focuses the app if it is open, and otherwise opens it. In an open app, only a push that has a screen of its own changes
 * the screen. A push about a card needs no change of the screen, because all screens show cards.
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
  try {
    const cache = await caches.open(CACHE);
    // Do not use the browser's own cache, because the page and its files must have the same version.
    await cache.addAll(FILES.map((path) => new Request(path, { cache: 'no-cache' })));
  } catch (error) {
    await caches.delete(CACHE).catch(() => undefined);
    // The disk is full. If no worker is active yet, install this worker without a cache. Without a cache, a worker
    // still shows notifications, and the app comes from the network. If an earlier worker is active, do not install
    // this worker, because the earlier worker has its own cached files. At the next visit, the browser tries again to
    // install this worker.
    const isFull = error instanceof DOMException && error.name === 'QuotaExceededError';
    if (!isFull || worker.registration.active !== null) throw error;
  }
  await worker.skipWaiting();
}

/**
 * Deletes old caches. Keeps the cache of the previous version, because an open page of that version can still load a
 * screen.
 */
async function deleteOldCaches(): Promise<void> {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  for (const name of old.slice(0, -1)) await caches.delete(name);
  await worker.clients.claim();
}

/**
 * Fetches a page. Returns the page from the network. Returns the cached page if the network fails or takes too long.
 */
async function fetchPage(request: Request): Promise<Response> {
  const kept = await caches.match(BASE, { cacheName: CACHE }).catch(() => undefined);
  try {
    const controller = new AbortController();
    const timer = kept && setTimeout(() => controller.abort(), PAGE_TIMEOUT_MS);
    const answer = await fetch(request, { signal: controller.signal });
    // The page has begun to arrive. Stop the timer, because an abort would now cut the page off.
    clearTimeout(timer);
    if (answer.ok || !kept) return answer;
  } catch (error) {
    if (!kept) throw error;
  }
  return kept;
}

async function fetchFile(request: Request): Promise<Response> {
  return (await caches.match(request).catch(() => undefined)) ?? fetch(request);
}
