/** The operations of one side (customer or mitra) about reports and notices, under the HTTP paths of this side. */
import type { Key, Schemas } from '../api/client';
import type { Side } from '../chat/chat.svelte';
import type { NewReport } from './report';

export type Notice = Schemas['Notice'];
export type Report = Schemas['Report'];

interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

export interface SafetyApi {
  side: Side;
  report: (sessionId: string, report: NewReport, headers: Key) => Promise<Report>;
  fetchReports: (query: { cursor?: string }) => Promise<Page<Report>>;
  fetchNotices: (query: { cursor?: string }) => Promise<Page<Notice>>;
  acknowledge: (noticeId: string) => Promise<Notice>;
  appeal: (noticeId: string, text: string, headers: Key) => Promise<Notice>;
}

/** Returns whether the notice is about something that this person did. */
export function isSanction(notice: Notice): boolean {
  return notice.kind === 'warning' || notice.kind === 'suspension';
}
