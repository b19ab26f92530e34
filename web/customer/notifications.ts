/** That a bestie is there, and what they write, while the app is closed: this phone's subscription. */
import { api } from '../shared/api/client';
import { Push } from '../shared/push/push.svelte';

export const push = new Push({
  role: 'customer',
  key: () => api.get('/api/client/push-key'),
  subscribe: (body) => api.put('/api/client/push-subscriptions', { body }),
});

/** No more of them on this phone. Throws `Refused`. */
export function stopPush(): Promise<void> {
  return push.stop((endpoint) => api.delete('/api/client/push-subscriptions', { body: { endpoint } }));
}
