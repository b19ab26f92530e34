import { describe, expect, it } from 'vitest';
import { buildReport, REPORT_REASONS, reasonsOf } from './report';

describe('a report', () => {
  it('is nothing while no reason is chosen', () => {
    expect(buildReport(undefined, 'a note', ['1'])).toBeUndefined();
  });

  it('has no note if the note has nothing to see', () => {
    expect(buildReport('money', ' \u200b ', [])).toEqual({ reason: 'money' });
  });

  it('has the trimmed note and the marked messages', () => {
    expect(buildReport('threat', ' tolong ', ['1', '2'])).toEqual({
      reason: 'threat',
      note: 'tolong',
      message_ids: ['1', '2'],
    });
  });

  it('of a customer has all nine reasons, and of a mitra not that nobody listened', () => {
    expect(reasonsOf('customer')).toHaveLength(9);
    expect(reasonsOf('mitra')).toEqual(REPORT_REASONS.filter((reason) => reason !== 'not_listening'));
  });
});
