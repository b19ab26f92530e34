import { describe, expect, it } from 'vitest';
import type { Schemas } from '../shared/api/client';
import { valueOf } from './audit';

const REPORT = '0192f0c0-0000-7000-8000-00000badcafe';

function said(action: Schemas['AuditEntry']['action'], value: string): string {
  const entry = { action, subject: 'session', subject_id: REPORT, old_value: null, new_value: value };
  return valueOf(entry as unknown as Schemas['AuditEntry'], value, 'en');
}

describe('an audit entry', () => {
  it('of a look at a chat shows the ground and quotes the reason', () => {
    expect(said('transcript_revealed', `report ${REPORT}: Keluhan: kasar`)).toBe(
      'Laporan 0badcafe: “Keluhan: kasar”',
    );
    expect(said('transcript_revealed', 'legal_order: Surat 12/2026')).toBe('Perintah hukum: “Surat 12/2026”');
  });

  it('of a look before there were grounds quotes the reason', () => {
    expect(said('transcript_revealed', 'Keluhan: kasar')).toBe('“Keluhan: kasar”');
  });

  it('of a suspension shows its end and what it is about', () => {
    expect(said('customer_suspended', `suspended until 2026-01-31T05:00:00+00:00: report ${REPORT}`)).toBe(
      'ditangguhkan sampai 31 Jan 2026, 12:00:00 WIB: Laporan 0badcafe',
    );
    expect(said('mitra_suspended', 'suspended: Kasar.')).toBe('ditangguhkan: “Kasar.”');
    expect(said('report_decided', 'suspend (awaits approval)')).toBe('penangguhan');
    expect(said('report_decided', 'warn')).toBe('peringatan');
  });
});
