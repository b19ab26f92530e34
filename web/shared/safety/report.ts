/** A report about the other side of a chat (T.2), as the form builds it. */
import { hasSomethingToSee } from '../words/visibleText';

/** The reasons, in the order of the form: what cannot wait comes first. */
export const REPORT_REASONS = [
  'danger',
  'threat',
  'sexual',
  'insult',
  'contact',
  'money',
  'minor',
  'not_listening',
  'other',
] as const;

export type ReportReason = (typeof REPORT_REASONS)[number];

export interface NewReport {
  reason: ReportReason;
  note?: string;
  message_ids?: string[];
}

export const MAX_NOTE_CHARACTERS = 500;
export const MAX_MARKED_MESSAGES = 20;

/** Returns the reasons that fit a report of this side. A mitra does not report that nobody listened. */
export function reasonsOf(side: 'customer' | 'mitra'): readonly ReportReason[] {
  return side === 'customer' ? REPORT_REASONS : REPORT_REASONS.filter((reason) => reason !== 'not_listening');
}

/** Builds the report that the server accepts. Returns undefined while no reason is chosen. */
export function buildReport(
  reason: ReportReason | undefined,
  note: string,
  markedIds: readonly string[],
): NewReport | undefined {
  if (reason === undefined) return undefined;
  return {
    reason,
    ...(hasSomethingToSee(note) ? { note: note.trim() } : {}),
    ...(markedIds.length > 0 ? { message_ids: [...markedIds] } : {}),
  };
}
