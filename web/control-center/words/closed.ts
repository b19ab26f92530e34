/** The sets of values that the contract lists completely. Each value of the sets must have a word in each language. */
import type { Schemas } from '../../shared/api/client';

type Entry = Schemas['TimelineEntry'];

export type AuditAction = Schemas['AuditEntry']['action'];
export type AuditSubject = Schemas['AuditEntry']['subject'];
export type ConfigurationKey = Schemas['ConfigurationRow']['key'];
export type TimelineType = Entry['type'];

/** The sets are statuses, tags, reasons and roles. */
export type Word = NonNullable<
  | Entry['status' | 'tag' | 'kind']
  | Schemas['PaymentRecord']['status' | 'purpose']
  | Schemas['ReviewCase']['reason' | 'status' | 'decision']
  | Schemas['CaseRefund']['status']
  | Schemas['SessionRecord']['status' | 'end_reason' | 'leave_reason']
  | Schemas['Rating']['answer']
  | Schemas['Extension']['status' | 'decided_by' | 'default_action']
  | Schemas['Request']['close_reason']
  | Schemas['OperatorAccount']['role']
  | Schemas['TranscriptMessage']['sender']
  | Schemas['TranscriptGround']['kind']
  | Schemas['QueuedReport'][
      'kind' | 'reason' | 'level' | 'status' | 'urgency' | 'decision' | 'appeal_decision']
  // The timeline and the audit contain the reasons of refunds and the values of suspensions as free text.
  | 'late_approval'
  | 'operator_decision'
  | 'admitted'
  | 'true'
  | 'false'
>;
