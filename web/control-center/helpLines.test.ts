import { describe, expect, test } from 'vitest';
import type { Schemas } from '../shared/api/client';
import { differencesOf, emptyDraft, fromDraft, toDraft } from './helpLines';

const EMERGENCY: Schemas['HelpLine'] = {
  id: '112',
  kind: 'line',
  name: '112',
  provider: 'Pemerintah daerah',
  what_for: { id: 'Keadaan darurat', en: 'Emergencies' },
  channels: [
    { kind: 'call', value: '112' },
    { kind: 'whatsapp', value: '+628111129129' },
  ],
  hours: { id: '24 jam', en: '24 hours' },
  region: { id: 'Indonesia', en: 'Indonesia' },
  language: 'id',
  is_free: true,
  note: { id: 'Belum di semua daerah', en: 'Not in every region yet' },
  verified_at: '2026-11-01T00:00:00Z',
  source: 'A test',
};
const UNKNOWN = { hours: null, is_free: null, note: null, verified_at: null };
const LINES: Schemas['HelpLine'][] = [
  { ...EMERGENCY, ...UNKNOWN, id: 'step', kind: 'step', channels: [] },
  EMERGENCY,
  { ...EMERGENCY, ...UNKNOWN, id: '119-8', name: '119 ext 8', is_free: false },
];

describe('the editor of the help lines', () => {
  test('changes nothing in a line that nobody edited', () => {
    expect(LINES.map(toDraft).map(fromDraft)).toEqual(LINES);
  });

  test('keeps several numbers of one kind', () => {
    const line = fromDraft({ ...toDraft(LINES[1]!), call: '112;  110 ;', whatsapp: '' });
    expect(line.channels).toEqual([
      { kind: 'call', value: '112' },
      { kind: 'call', value: '110' },
    ]);
  });

  test('gives a new line an id that no other line has', () => {
    const drafts = LINES.map(toDraft);
    const first = emptyDraft(drafts);
    expect([...drafts, first].map((draft) => draft.id)).not.toContain(emptyDraft([...drafts, first]).id);
  });
});

test('names each difference of two versions once', () => {
  const [step, emergency, ...rest] = LINES;
  const changed = { ...emergency!, verified_at: '2026-12-01T00:00:00Z' };
  const added = { ...emergency!, id: 'new', name: 'New' };
  expect(differencesOf(LINES, LINES)).toEqual([]);
  expect(differencesOf(LINES, [step!, changed, ...rest.slice(1), added])).toEqual([
    {
      id: '112',
      name: '112',
      what: 'changed',
      fields: [{ field: 'verifiedAt', before: '2026-11-01T00:00:00Z', after: '2026-12-01T00:00:00Z' }],
    },
    expect.objectContaining({ id: 'new', what: 'added' }),
    { id: '119-8', name: '119 ext 8', what: 'removed', fields: [] },
  ]);
});
