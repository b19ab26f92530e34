/**
 * The push subscription of this phone for a customer. A push tells the customer that a mitra has accepted, that a
 * new chat message has arrived, that a search failed, that the chosen mitra did not accept, or that money came back.
 */
import { api } from '../shared/api/client';
import { Push } from '../shared/push/push.svelte';

export const push = new Push({
  role: 'customer',
  key: () => api.get('/api/client/push-key'),
  subscribe: (body) => api.put('/api/client/push-subscriptions', { body }),
});

/** Switches notifications off on this phone. Throws `Refused`. */
export function switchPushOff(): Promise<void> {
  return push.switchOff((endpoint) =>
    api.delete('/api/client/push-subscriptions', { body: { kind: 'web_push', endpoint } }),
  );
}
