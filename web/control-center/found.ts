import type { Schemas } from '../shared/api/client';

/** Returns the screen of something that the search found. A pairing and the like are on the screen of their payment. */
export function pathOf(found: Pick<Schemas['Found'], 'kind' | 'id' | 'payment_id'>): string {
  switch (found.kind) {
    case 'customer':
      return `/customers/${found.id}`;
    case 'mitra':
      return `/mitras/${found.id}`;
    case 'session':
      return `/sessions/${found.id}`;
    case 'case':
      return `/cases/${found.id}`;
    default:
      return `/payments/${found.payment_id ?? found.id}`;
  }
}
