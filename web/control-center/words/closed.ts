/** What the contract closes, and what is therefore to have a word in each language: no more and no less. */
import type { Schemas } from '../../shared/api/client';

type Entry = Schemas['TimelineEntry'];

export type AuditAction = Schemas['AuditEntry']['action'];
export type AuditSubject = Schemas['AuditEntry']['subject'];
export type ConfigurationKey = Schemas['ConfigurationRow']['key'];
export type TimelineType = Entry['type'];

/** Statuses, tags, reasons and roles. */
export type Word = NonNullable<
  | Entry['status' | 'tag' | 'kind']
  | Schemas['PaymentRecord']['status' | 'purpose']
  | Schemas['ReviewCase']['reason' | 'status' | 'decision']
  | Schemas['CaseRefund']['status']
  | Schemas['SessionRecord']['status' | 'end_reason']
  | Schemas['Extension']['status' | 'decided_by' | 'default_action']
  | Schemas['Request']['close_reason']
  | Schemas['OperatorAccount']['role']
  | Schemas['TranscriptMessage']['sender']
  // Why a refund was asked for, and what a suspension changes: a timeline and the audit tell of them in text.
  | 'late_approval'
  | 'operator_decision'
  | 'admitted'
  | 'true'
  | 'false'
>;
