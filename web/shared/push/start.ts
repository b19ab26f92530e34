import type { Language } from '../words/language.svelte';
import type { Push } from './push.svelte';

/**
 * Sends this phone's subscription and language to the server again. Does nothing if the person has not allowed
 * notifications. Does not ask the person for the permission. If the person has not allowed notifications, the client
 * does not load the code for notifications.
 */
export function startPushIfAllowed(language: Language, load: () => Promise<{ push: Push }>): void {
  if ('Notification' in window && Notification.permission === 'granted')
    void load()
      .then(({ push }) => push.start(language))
      .catch(() => {
        // If the client cannot fetch the code for notifications, the server still has the earlier subscription.
      });
}
