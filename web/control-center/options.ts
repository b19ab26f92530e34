/**
 * The options of each filter. The options are the enum values of the API contract, in the order that operators expect.
 * TypeScript checks each value against the contract.
 */
import type { Schemas } from '../shared/api/client';

export const TAGS = [
  'no_mitra_available',
  'all_mitras_rejected',
  'targeted_mitra_offline',
  'targeted_mitra_rejected',
  'targeted_mitra_timeout',
  'payment_session_expired',
  'customer_cancelled',
] as const satisfies readonly NonNullable<Schemas['FailedPairing']['tag']>[];

export const PAYMENT_STATUSES = [
  'pending',
  'confirming',
  'confirmed',
  'served',
  'unserved',
  'abandoned',
  'expired',
  'refunded',
] as const satisfies readonly Schemas['PaymentRecord']['status'][];

export const CASE_REASONS = [
  'no_session',
  'cut_short',
  'refund_failed',
  'restored',
  'mitra_away',
  'unanswered',
  'complaint',
  'books_differ',
  'reported',
] as const satisfies readonly Schemas['ReviewCase']['reason'][];
export const END_REASONS = [
  'time_up',
  'customer_ended',
  'mitra_ended',
  'mitra_suspended',
] as const satisfies readonly NonNullable<Schemas['SessionRecord']['end_reason']>[];
export const ROLES = [
  'admin',
  'reviewer',
  'viewer',
] as const satisfies readonly Schemas['TeamMember']['role'][];
export const REPORT_REASONS = [
  'danger',
  'minor',
  'threat',
  'sexual',
  'insult',
  'contact',
  'money',
  'not_listening',
  'other',
] as const satisfies readonly NonNullable<Schemas['QueuedReport']['reason']>[];
export const REPORT_STATUSES = [
  'open',
  'awaiting_approval',
  'appealed',
  'decided',
] as const satisfies readonly Schemas['QueuedReport']['status'][];
export const REPORT_KINDS = ['report', 'concern'] as const;
export const SIDES = ['customer', 'mitra'] as const;
export const KINDS = ['blast', 'targeted'] as const;
export const PURPOSES = ['session', 'extension'] as const;
export const YES_NO = ['true', 'false'] as const;
