import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Refused } from '../api/client';
import { deviceStorage } from '../storage';
import { keepLeave, sendLeaves, type Leave, type LeaveApi } from './leave';
import { hasLeft } from './left';

interface Sent {
  leave: Leave;
  key: string;
}

/** A server that gives these answers, one after the other, and then answers that the chat has ended. */
function server(...refusals: Refused[]) {
  const sent: Sent[] = [];
  const left = vi.fn();
  const unknown = vi.fn();
  const api: LeaveApi<string> = {
    side: 'customer',
    post: (id, leave, headers) => {
      sent.push({ leave, key: headers['Idempotency-Key'] });
      const refusal = refusals.shift();
      return refusal ? Promise.reject(refusal) : Promise.resolve(`ended ${id}`);
    },
    onleft: left,
    onunknown: unknown,
  };
  return { api, sent, left, unknown };
}

const REPORT = { reason: 'threat' } as const;

describe('sendLeaves', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('document', new EventTarget());
    vi.stubGlobal('addEventListener', () => undefined);
    vi.stubGlobal('removeEventListener', () => undefined);
    for (const key of deviceStorage.keys('')) deviceStorage.remove(key);
    return () => {
      vi.useRealTimers();
      vi.unstubAllGlobals();
    };
  });

  it('forgets the leave when the server has it', async () => {
    const { api, sent, left } = server();
    keepLeave('customer', 'a', { block: true });
    expect(hasLeft('customer', 'a')).toBe(true);
    sendLeaves(api);
    await vi.runAllTimersAsync();
    expect(sent.map((one) => one.leave)).toEqual([{ block: true }]);
    expect(left).toHaveBeenCalledWith('ended a', { block: true });
    expect(hasLeft('customer', 'a')).toBe(false);
  });

  it('sends one leave under one key until an answer comes', async () => {
    const { api, sent, left } = server(
      ...Array.from({ length: 9 }, () => new Refused('unreachable', 0)),
      new Refused('too_many_requests', 429),
    );
    keepLeave('customer', 'a', { report: REPORT });
    sendLeaves(api);
    sendLeaves(api);
    await vi.runAllTimersAsync();
    expect(sent).toHaveLength(11);
    expect(new Set(sent.map((one) => one.key)).size).toBe(1);
    expect(left).toHaveBeenCalledOnce();
  });

  it('leaves without the report if the server does not accept the report', async () => {
    const { api, sent, left } = server(new Refused('validation_failed', 422));
    keepLeave('customer', 'a', { report: REPORT, block: true });
    sendLeaves(api);
    await vi.runAllTimersAsync();
    expect(sent.map((one) => one.leave)).toEqual([{ report: REPORT, block: true }, { block: true }]);
    expect(sent[0]?.key).not.toBe(sent[1]?.key);
    expect(left).toHaveBeenCalledOnce();
  });

  it('keeps the leave for the next sign-in', async () => {
    const { api, left } = server(new Refused('unauthenticated', 401));
    keepLeave('customer', 'a', {});
    sendLeaves(api);
    await vi.runAllTimersAsync();
    expect(hasLeft('customer', 'a')).toBe(true);
    sendLeaves(api);
    await vi.runAllTimersAsync();
    expect(left).toHaveBeenCalledOnce();
  });

  it('forgets a leave of a chat that the person never had', async () => {
    const { api, unknown } = server(new Refused('not_found', 404));
    keepLeave('customer', 'a', {});
    sendLeaves(api);
    await vi.runAllTimersAsync();
    expect(unknown).toHaveBeenCalledOnce();
    expect(hasLeft('customer', 'a')).toBe(false);
  });
});
