/** The push subscription of this phone for a mitra. A push tells the mitra that a customer waits for an answer. */
import { api } from '../shared/api/client';
import { Push } from '../shared/push/push.svelte';

export const push = new Push({
  role: 'mitra',
  key: () => api.get('/api/mitra/push-key'),
  subscribe: (body) => api.put('/api/mitra/push-subscriptions', { body }),
});
