/**
 * Notifications while the app is closed: the browser's permission, and the subscription at the server.
 *
 * The app asks for the permission only when the person presses the button for notifications. If the app has the
 * permission, it sends its subscription to the server at each start. If the server has marked the subscription as
 * failed, the server uses it again after the app has sent it. The app does not send the subscription while the person
 * has switched notifications off on this device.
 */
import type { Schemas } from '../api/client';
import { goTo } from '../router.svelte';
import { deviceStorage } from '../storage';

/**
 * `impossible`: this browser has no notifications. `ask`: the person has not decided. `blocked`: the person has
 * refused. `off`: the person has allowed notifications, and then switched them off. `failed`: the person has allowed
 * notifications, but the push service or our server did not answer.
 */
export type PushState = 'unknown' | 'impossible' | 'ask' | 'blocked' | 'on' | 'off' | 'failed';

/** The operations of one role, under the HTTP paths of this role. */
export interface PushApi {
  role: 'customer' | 'mitra';
  key: () => Promise<{ public_key: string }>;
  subscribe: (subscription: Schemas['PushSubscription']) => Promise<unknown>;
}

/**
 * The browser installs the service worker after the first screen. If the browser has no service worker after
 * WORKER_TIMEOUT_MS, the app treats the installation as failed.
 */
const WORKER_TIMEOUT_MS = 20_000;

// If the app is open when the person presses a notification, the service worker sends the path of the screen to open.
navigator.serviceWorker?.addEventListener('message', ({ data }: MessageEvent<{ go: string }>) => {
  goTo(data.go.slice(import.meta.env.BASE_URL.length - 1));
});

/** Closes the notifications and removes the badge, because the app shows the same news to the person. */
async function closeNotifications(): Promise<void> {
  if (document.visibilityState !== 'visible') return;
  navigator.clearAppBadge?.().catch(() => undefined);
  const registration = await navigator.serviceWorker?.getRegistration();
  for (const notification of (await registration?.getNotifications()) ?? []) notification.close();
}

document.addEventListener('visibilitychange', () => void closeNotifications());
void closeNotifications();

export class Push {
  state = $state<PushState>('unknown');

  readonly #api: PushApi;
  /**
   * A key of localStorage. This storage key exists while notifications are switched off on this device. When the person
   * signs out, the app removes this storage key.
   */
  readonly #offKey: string;
  /**
   * The last step. Each step waits until the previous step is over. If the steps overlapped, a `start` during
   * `switchOff` could subscribe again.
   */
  #lastStep: Promise<unknown> = Promise.resolve();

  constructor(api: PushApi) {
    this.#api = api;
    this.#offKey = `curhat:${api.role}:push off`;
  }

  /** Reads the permission. Subscribes if the app has the permission. Does not ask the person for the permission. */
  start(language: Schemas['PushSubscription']['language']): Promise<void> {
    return this.#runInOrder(() => this.#start(language));
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
    if (deviceStorage.get(this.#offKey) !== null) {
      this.state = 'off';
      return;
    }
    try {
      await this.#subscribe(language);
      this.state = 'on';
    } catch {
      // A failed attempt to subscribe does no harm, because the server still has the earlier subscription.
      if (this.state !== 'on') this.state = 'failed';
    }
  }

  /** Sends the subscription again, because the server has lost the subscription. */
  renew(language: Schemas['PushSubscription']['language']): Promise<void> {
    this.state = 'unknown';
    return this.start(language);
  }

  /** Asks the person for the permission. Called when the person presses the button for the permission. */
  async askPermission(language: Schemas['PushSubscription']['language']): Promise<void> {
    deviceStorage.remove(this.#offKey);
    await Notification.requestPermission();
    await this.start(language);
  }

  /** Switches notifications off on this device. `unsubscribe` tells the server. Throws the errors of `unsubscribe`. */
  switchOff(unsubscribe: (endpoint: string) => Promise<unknown>): Promise<void> {
    return this.#runInOrder(() => this.#switchOff(unsubscribe));
  }

  #runInOrder(run: () => Promise<void>): Promise<void> {
    const done = this.#lastStep.then(run);
    this.#lastStep = done.catch(() => undefined);
    return done;
  }

  async #switchOff(unsubscribe: (endpoint: string) => Promise<unknown>): Promise<void> {
    const { pushManager } = await findWorker();
    const subscription = await pushManager.getSubscription();
    if (subscription !== null) {
      await unsubscribe(subscription.endpoint);
      await subscription.unsubscribe();
    }
    deviceStorage.set(this.#offKey, '');
    this.state = 'off';
  }

  async #subscribe(language: Schemas['PushSubscription']['language']): Promise<void> {
    const { pushManager } = await findWorker();
    const { public_key } = await this.#api.key();
    let subscription = await pushManager.getSubscription();
    const subscribedTo = subscription?.options.applicationServerKey;
    if (subscription !== null && (!subscribedTo || encodeBase64Url(subscribedTo) !== public_key)) {
      // The server has a new key, and cannot send to a subscription that was made with the old key.
      this.state = 'unknown';
      await subscription.unsubscribe();
      subscription = null;
    }
    subscription ??= await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: public_key });
    const { endpoint, keys } = subscription.toJSON();
    await this.#api.subscribe({
      kind: 'web_push',
      endpoint: endpoint ?? '',
      keys: { p256dh: keys?.p256dh ?? '', auth: keys?.auth ?? '' },
      language,
    });
  }
}

/** Returns the service worker. Throws an error if the browser has no service worker after WORKER_TIMEOUT_MS. */
function findWorker(): Promise<ServiceWorkerRegistration> {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('no service worker')), WORKER_TIMEOUT_MS);
    void navigator.serviceWorker.ready.then(resolve);
  });
}

function encodeBase64Url(bytes: ArrayBuffer): string {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
