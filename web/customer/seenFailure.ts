/**
 * Remembers the last failure whose screen the person closed. The home screen then shows this failure as a short note.
 */
import { deviceStorage } from '../shared/storage';
import type { Payment } from './journey.svelte';

const KEY = 'curhat:customer:seen-failure';

export function hasSeenFailure(payment: Payment | null): boolean {
  return payment !== null && deviceStorage.get(KEY) === payment.id;
}

export function rememberSeenFailure(payment: Payment): void {
  deviceStorage.set(KEY, payment.id);
}
