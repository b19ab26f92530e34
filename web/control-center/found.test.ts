import { expect, test } from 'vitest';
import { pathOf } from './found';

test('people, sessions and cases have their own screens, and everything else is on its payment', () => {
  expect(pathOf({ kind: 'customer', id: 'a', payment_id: null })).toBe('/customers/a');
  expect(pathOf({ kind: 'mitra', id: 'a', payment_id: null })).toBe('/mitras/a');
  expect(pathOf({ kind: 'session', id: 'a', payment_id: 'p' })).toBe('/sessions/a');
  expect(pathOf({ kind: 'case', id: 'a', payment_id: 'p' })).toBe('/cases/a');
  for (const kind of ['payment', 'pairing', 'request', 'extension', 'charge', 'refund'] as const) {
    expect(pathOf({ kind, id: 'a', payment_id: 'p' })).toBe('/payments/p');
  }
});
