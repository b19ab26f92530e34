import { expect, test } from 'vitest';
import { Refused } from '../api/client';
import en from './en';
import { errorText } from './shared';

test.each([
  [5, 'Terlalu sering mencoba. Tunggu 5 detik, lalu coba lagi.'],
  [89, 'Terlalu sering mencoba. Tunggu 89 detik, lalu coba lagi.'],
  [541, 'Terlalu sering mencoba. Tunggu 10 menit, lalu coba lagi.'],
])('a refusal beyond a limit says how long to wait: %i s', (seconds, sentence) => {
  expect(errorText(new Refused('too_many_requests', 429, {}, seconds))).toBe(sentence);
});

test('a refusal beyond a limit without a time has a sentence too', () => {
  expect(errorText(new Refused('too_many_requests', 429))).toBe(
    'Terlalu sering mencoba. Tunggu sebentar, lalu coba lagi.',
  );
  expect(en.tooManyFor(541)).toBe('Too many tries. Wait 10 minutes, then try again.');
});
