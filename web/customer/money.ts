/** Says where the money of a payment is. The server says what happened; this module chooses one state to show. */
import type { Schemas } from '../shared/api/client';

export type CustomerPayment = Schemas['CustomerPayment'];

/**
 * `reviewing`: the team has not decided yet. `kept`: the team decided against a refund. `refused`: the gateway refused
 * the refund, and the team tries again. `untaken`: the payment is over, and no money was taken.
 */
export type MoneyState =
  | 'free'
  | 'open'
  | 'paid'
  | 'untaken'
  | 'reviewing'
  | 'kept'
  | 'refunding'
  | 'refused'
  | 'partly'
  | 'refunded';

export function givenBackRp(payment: CustomerPayment): number {
  return payment.refunds.reduce((sum, { status, amount_rp }) => sum + (status === 'done' ? amount_rp : 0), 0);
}

export function moneyStateOf(payment: CustomerPayment): MoneyState {
  const { amount_rp, charged_rp, refunds, review, status } = payment;
  const givenBack = givenBackRp(payment);
  if (amount_rp === 0) return 'free';
  if (charged_rp === 0) return status === 'pending' || status === 'confirming' ? 'open' : 'untaken';
  if (givenBack >= charged_rp) return 'refunded';
  if (refunds.some((refund) => refund.status === 'requested')) return 'refunding';
  if (review?.status === 'open') return 'reviewing';
  if (givenBack > 0) return 'partly';
  if (refunds.length > 0) return 'refused';
  return review?.decision === 'no_refund' ? 'kept' : 'paid';
}

/** Whether the customer should know about the state wherever the session of the payment is shown. */
export function isNoteworthy(state: MoneyState): boolean {
  return !['free', 'open', 'paid', 'untaken'].includes(state);
}

/** Whether the money is still in question, or did not come back. The screens then use the warm colour. */
export function needsTheTeam(state: MoneyState): boolean {
  return ['reviewing', 'refused', 'kept'].includes(state);
}

/** Returns the list with the newest page of the server. Payments of that page replace older copies of themselves. */
export function mergeNewest(
  items: readonly CustomerPayment[],
  newest: readonly CustomerPayment[],
): CustomerPayment[] {
  const known = new Set(newest.map(({ id }) => id));
  return [...newest, ...items.filter(({ id }) => !known.has(id))];
}
