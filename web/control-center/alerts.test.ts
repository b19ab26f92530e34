import { describe, expect, it } from 'vitest';
import type { Schemas } from '../shared/api/client';
import { risen } from './alerts.svelte';

function dashboard(figures: Partial<Schemas['Dashboard']>): Schemas['Dashboard'] {
  const none = {
    refunds_awaiting_approval: 0,
    refunds_refused: 0,
    gateway_unanswered: 0,
    gateway_alerts: 0,
    deadlines_parked: 0,
    deadlines_overdue: 0,
    cases_overdue: 0,
  };
  return { ...none, ...figures } as Schemas['Dashboard'];
}

describe('risen', () => {
  it('names no figure before the first answer', () => {
    expect(risen(null, dashboard({ deadlines_parked: 3 }))).toEqual([]);
  });

  it('names each figure that is higher than before, and no other', () => {
    const before = dashboard({ deadlines_parked: 1, refunds_refused: 2 });
    expect(risen(before, dashboard({ deadlines_parked: 2, refunds_refused: 1 }))).toEqual([
      'deadlines_parked',
    ]);
  });
});
