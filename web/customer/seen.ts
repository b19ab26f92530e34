/** A failure is shown until the person has put it away; then the home screen only mentions it. */
import type { Payment } from './journey.svelte';

const KEY = 'curhat:customer:seen-failure';

export function hasSeenFailure(payment: Payment | null): boolean {
  return payment !== null && localStorage.getItem(KEY) === payment.id;
}

export function sawFailure(payment: Payment): void {
  localStorage.setItem(KEY, payment.id);
}
