/** The push subscription of this phone for a mitra. Pushes announce requests. */
import { api } from '../shared/api/client';
import { Push } from '../shared/push/push.svelte';

export const push = new Push({
  role: 'mitra',
  key: () => api.get('/api/mitra/push-key'),
  subscribe: (body) => api.put('/api/mitra/push-subscriptions', { body }),
});
