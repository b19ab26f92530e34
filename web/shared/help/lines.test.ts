import { afterEach, expect, test, vi } from 'vitest';
import { deviceStorage } from '../storage';
import { isVerified, KEY, linesOr, linkOf, textIn } from './lines';
import shippedEn from './shippedEn';
import shippedId from './shippedId';

afterEach(() => {
  deviceStorage.remove(KEY);
  vi.useRealTimers();
});

test('a phone opens each channel of the bundle without a page of ours', () => {
  expect(shippedId.flatMap((line) => line.channels.map(linkOf))).toEqual([
    ['tel:112', '112'],
    ['tel:119,8', '119 ext 8'],
    ['https://healing119.id', 'healing119.id'],
    ['tel:129', '129'],
    ['https://wa.me/628111129129', 'WhatsApp'],
    ['tel:08001500119', '0800-1500-119'],
  ]);
});

test('both languages of the bundle have the same lines', () => {
  expect(shippedEn.map((line) => line.channels)).toEqual(shippedId.map((line) => line.channels));
});

test('the newest list of the server replaces the list of the bundle', () => {
  expect(linesOr(shippedId)).toBe(shippedId);
  deviceStorage.set(KEY, 'not JSON');
  expect(linesOr(shippedId)).toBe(shippedId);
  deviceStorage.setJson(KEY, { version: 2, items: [shippedId[1]] });
  expect(linesOr(shippedId)).toEqual([shippedId[1]]);
});

test('a text of the server is shown in the language of the app', () => {
  expect(textIn('en', { id: 'darurat', en: 'emergency' })).toBe('emergency');
  expect(textIn('en', 'darurat')).toBe('darurat');
  expect(textIn('id', null)).toBe('');
});

test('a line counts as verified for 30 days', () => {
  vi.useFakeTimers({ now: Date.parse('2026-12-31T00:00:00Z') });
  const line = shippedId[1]!;
  expect(isVerified(line)).toBe(false);
  expect(isVerified({ ...line, verified_at: '2026-12-01T00:00:01Z' })).toBe(true);
  expect(isVerified({ ...line, verified_at: '2026-12-01T00:00:00Z' })).toBe(false);
});
