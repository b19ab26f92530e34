import type { Language } from '../words/language.svelte';
import type { Push } from './push.svelte';

/**
 * Gives this phone's subscription to the server again, in this language, if the person has allowed notifications.
 * Asks for nothing. A person who has not allowed them does not load that code.
 */
export function startPushIfAllowed(language: Language, load: () => Promise<{ push: Push }>): void {
  if ('Notification' in window && Notification.permission === 'granted')
    void load().then(({ push }) => push.start(language));
}
