/** Remembers the last failure that the person has closed. The home screen then shows this failure as a short note. */
import type { Payment } from './journey.svelte';

const KEY = 'curhat:customer:seen-failure';

export function hasSeenFailure(payment: Payment | null): boolean {
  return payment !== null && localStorage.getItem(KEY) === payment.id;
}

export function rememberSeenFailure(payment: Payment): void {
  localStorage.setItem(KEY, payment.id);
}
