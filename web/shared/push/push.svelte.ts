/**
 * Notifications while the app is closed: what this browser lets us do, and its subscription at the server.
 *
 * The permission is the person's, asked for when they press for it. With it, the subscription is given to the server at
 * each start of the app, which mends one that has failed there; unless they have switched notifications off here.
 */
import type { Schemas } from '../api/client';
import { go } from '../router.svelte';

/**
 * `impossible`: this browser has none. `off`: allowed, and switched off by the person. `failed`: allowed, and its push
 * service or ours could not be reached.
 */
export type PushState = 'unknown' | 'impossible' | 'ask' | 'blocked' | 'on' | 'off' | 'failed';

/** The operations of one role, on its own paths. */
export interface PushApi {
  role: 'customer' | 'mitra';
  key: () => Promise<{ public_key: string }>;
  subscribe: (subscription: Schemas['PushSubscription']) => Promise<unknown>;
}

/** The worker installs after the first screen: longer than that takes, and it will not come. */
const WORKER_TIMEOUT_MS = 20_000;

// A notification was pressed while the app was open: the worker says where it belongs.
navigator.serviceWorker?.addEventListener('message', ({ data }: MessageEvent<{ go: string }>) => {
  go(data.go.slice(import.meta.env.BASE_URL.length - 1));
});

/** What notifications told of is seen in the app: whoever looks at that needs them no more. */
async function clearShown(): Promise<void> {
  if (document.visibilityState !== 'visible') return;
  const registration = await navigator.serviceWorker?.getRegistration();
  for (const notification of (await registration?.getNotifications()) ?? []) notification.close();
}

document.addEventListener('visibilitychange', () => void clearShown());
void clearShown();

export class Push {
  state = $state<PushState>('unknown');

  readonly #api: PushApi;
  /** There when the person has switched notifications off on this device; goes when they sign out. */
  readonly #offKey: string;
  /** What is under way. Two at once could end with notifications on that were switched off meanwhile. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(api: PushApi) {
    this.#api = api;
    this.#offKey = `curhat:${api.role}:push off`;
  }

  /** Look what is allowed, and if it is, subscribe. Asks for nothing. */
  start(language: Schemas['PushSubscription']['language']): Promise<void> {
    return this.#inTurn(() => this.#start(language));
  }

  async #start(language: Schemas['PushSubscription']['language']): Promise<void> {
    if (!('Notification' in window && 'PushManager' in window && 'serviceWorker' in navigator)) {
      this.state = 'impossible';
      return;
    }
    if (Notification.permission !== 'granted') {
      this.state = Notification.permission === 'denied' ? 'blocked' : 'ask';
      return;
    }
    if (localStorage.getItem(this.#offKey) !== null) {
      this.state = 'off';
      return;
    }
    try {
      await this.#subscribe(language);
      this.state = 'on';
    } catch {
      // What the server already has stays good when it cannot be told again.
      if (this.state !== 'on') this.state = 'failed';
    }
  }

  /** The server has lost the subscription: it is given once more. */
  renew(language: Schemas['PushSubscription']['language']): Promise<void> {
    this.state = 'unknown';
    return this.start(language);
  }

  /** Ask for the permission: the person has pressed for it. */
  async allow(language: Schemas['PushSubscription']['language']): Promise<void> {
    localStorage.removeItem(this.#offKey);
    await Notification.requestPermission();
    await this.start(language);
  }

  /** Switch them off on this device. `unsubscribe` tells the server; what it throws is thrown. */
  stop(unsubscribe: (endpoint: string) => Promise<unknown>): Promise<void> {
    return this.#inTurn(() => this.#stop(unsubscribe));
  }

  #inTurn(run: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(run);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #stop(unsubscribe: (endpoint: string) => Promise<unknown>): Promise<void> {
    const { pushManager } = await worker();
    const subscription = await pushManager.getSubscription();
    if (subscription !== null) {
      await unsubscribe(subscription.endpoint);
      await subscription.unsubscribe();
    }
    localStorage.setItem(this.#offKey, '');
    this.state = 'off';
  }

  async #subscribe(language: Schemas['PushSubscription']['language']): Promise<void> {
    const { pushManager } = await worker();
    const { public_key } = await this.#api.key();
    let subscription = await pushManager.getSubscription();
    const subscribedTo = subscription?.options.applicationServerKey;
    if (subscription !== null && (!subscribedTo || base64url(subscribedTo) !== public_key)) {
      // The server has another key now: to what was subscribed, it cannot send.
      this.state = 'unknown';
      await subscription.unsubscribe();
      subscription = null;
    }
    subscription ??= await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: public_key });
    const { endpoint, keys } = subscription.toJSON();
    await this.#api.subscribe({
      endpoint: endpoint ?? '',
      keys: { p256dh: keys?.p256dh ?? '', auth: keys?.auth ?? '' },
      language,
    });
  }
}

function worker(): Promise<ServiceWorkerRegistration> {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('no service worker')), WORKER_TIMEOUT_MS);
    void navigator.serviceWorker.ready.then(resolve);
  });
}

function base64url(bytes: ArrayBuffer): string {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
