import { describe, expect, test } from 'vitest';
import { givenBackRp, isNoteworthy, mergeNewest, moneyStateOf, type CustomerPayment } from './money';

const OPEN = { status: 'open', decision: null } as CustomerPayment['review'];
const NO_REFUND = { status: 'decided', decision: 'no_refund' } as CustomerPayment['review'];
const REFUND = { status: 'decided', decision: 'refund' } as CustomerPayment['review'];

function payment(fields: Partial<CustomerPayment>): CustomerPayment {
  return {
    id: 'a',
    status: 'unserved',
    amount_rp: 20_000,
    charged_rp: 20_000,
    review: null,
    refunds: [],
    ...fields,
  } as CustomerPayment;
}

function refund(
  status: 'requested' | 'done' | 'failed',
  amount_rp = 20_000,
): CustomerPayment['refunds'][number] {
  return { status, amount_rp, at: '' };
}

describe('the state of the money', () => {
  test.each([
    ['free', { amount_rp: 0, charged_rp: 0, review: OPEN }],
    ['open', { status: 'pending', charged_rp: 0 }],
    ['open', { status: 'confirming', charged_rp: 0 }],
    ['untaken', { status: 'expired', charged_rp: 0 }],
    ['untaken', { status: 'abandoned', charged_rp: 0 }],
    ['paid', { status: 'served' }],
    ['paid', { status: 'confirmed' }],
    ['reviewing', { review: OPEN }],
    ['kept', { review: NO_REFUND }],
    ['refunding', { review: REFUND, refunds: [refund('requested')] }],
    ['refunding', { review: REFUND, refunds: [refund('failed'), refund('requested')] }],
    ['refused', { review: REFUND, refunds: [refund('failed')] }],
    ['reviewing', { status: 'abandoned', review: OPEN, refunds: [refund('failed')] }],
    ['refunded', { status: 'refunded', review: REFUND, refunds: [refund('failed'), refund('done')] }],
    ['refunded', { status: 'abandoned', refunds: [refund('done')] }],
    ['partly', { review: REFUND, refunds: [refund('done', 5_000)] }],
    // Two charges were taken, and only one came back.
    ['reviewing', { charged_rp: 40_000, review: OPEN, refunds: [refund('done')] }],
  ] as const)('%s', (state, fields) => {
    expect(moneyStateOf(payment(fields as Partial<CustomerPayment>))).toBe(state);
  });

  test('only money under review, decided or given back is told beside a session', () => {
    const states = ['reviewing', 'kept', 'refunding', 'refused', 'partly', 'refunded'] as const;
    expect(states.every(isNoteworthy)).toBe(true);
    expect((['free', 'open', 'paid', 'untaken'] as const).some(isNoteworthy)).toBe(false);
  });

  test('only refunds that the gateway carried out count as given back', () => {
    expect(
      givenBackRp(payment({ refunds: [refund('failed'), refund('done', 5_000), refund('requested')] })),
    ).toBe(5_000);
  });
});

test('a newer page replaces the payments that it contains', () => {
  const old = [payment({ id: 'b', status: 'unserved' }), payment({ id: 'a' })];
  const merged = mergeNewest(old, [payment({ id: 'c' }), payment({ id: 'b', status: 'refunded' })]);
  expect(merged.map(({ id, status }) => [id, status])).toEqual([
    ['c', 'unserved'],
    ['b', 'refunded'],
    ['a', 'unserved'],
  ]);
});
