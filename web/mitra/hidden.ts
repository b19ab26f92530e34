/**
 * Notifications of a page that still runs, but that the mitra does not see: the phone is locked, or another app is in
 * front. They look like the server's pushes, and have the same tags. So a push and a notification about the same news
 * replace each other. When the mitra opens the app, shared/push/ closes them.
 */
import { loadScreenWords } from '../shared/words/language.svelte';
import { words } from './words/words';

export type News = 'request' | 'message' | 'extension' | 'rest';

/** The letters with which the server's topics begin (notifications/service.py). */
const TOPIC_LETTERS: Record<News, string> = { request: 'r', message: 's', extension: 'x', rest: 'b' };

/** Shows the notification about this request, session, extension or mitra. The text has no name and no chat text. */
export async function notify(news: News, id: string, sessionId?: string): Promise<void> {
  if (!('Notification' in window && Notification.permission === 'granted')) return;
  await loadScreenWords();
  const registration = await navigator.serviceWorker.getRegistration();
  // The mitra has possibly opened the app meanwhile.
  if (registration === undefined || document.visibilityState !== 'hidden') return;
  const [title = '', body] = words().hidden[news];
  const chat = sessionId ?? (news === 'message' ? id : undefined);
  const tag = topicOf(news, id);
  // The messages of a burst replace each other silently. Only the first one rings.
  const isShown = (await registration.getNotifications({ tag })).length > 0;
  // TypeScript's type lacks `renotify`.
  const options: NotificationOptions & { renotify: boolean } = {
    body: body ?? '',
    tag,
    renotify: !isShown || news !== 'message',
    icon: `${import.meta.env.BASE_URL}icons/icon-192.png`,
    data: import.meta.env.BASE_URL + (chat === undefined ? '' : `chat/${chat}`),
  };
  await registration.showNotification(title, options);
}

/** Returns the server's topic: a letter, and the id in base64url. */
export function topicOf(news: News, id: string): string {
  const bytes = (id.replaceAll('-', '').match(/../g) ?? []).map((pair) => parseInt(pair, 16));
  const text = btoa(String.fromCharCode(...bytes));
  return TOPIC_LETTERS[news] + text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
