import { describe, expect, it } from 'vitest';
import { findLinks, hostOf, isOnlyEmoji, shorten } from './text';

const linksOf = (text: string) => findLinks(text).filter((part) => typeof part !== 'string');

describe('findLinks', () => {
  it.each([
    ['lihat https://contoh.id/a?b=1.', 'https://contoh.id/a?b=1'],
    ['(www.contoh.id)', 'https://www.contoh.id/'],
    ['https://id.wikipedia.org/wiki/Curhat_(kata)', 'https://id.wikipedia.org/wiki/Curhat_(kata)'],
    ['HTTP://CONTOH.ID', 'http://contoh.id/'],
    ['“https://contoh.id/x”', 'https://contoh.id/x'],
    ['*https://contoh.id/x*', 'https://contoh.id/x'],
  ])('finds the link in %s', (text, href) => {
    expect(linksOf(text)).toMatchObject([{ href }]);
    const joined = findLinks(text).map((part) => (typeof part === 'string' ? part : part.label));
    expect(joined.join('')).toBe(text);
  });

  it.each([
    'javascript:alert(1)',
    'https://',
    'https://localhost/x',
    'https://bank.id@jahat.example/',
    'halo',
    'awww.sedih banget',
  ])('finds no link in %s', (text) => expect(linksOf(text)).toEqual([]));

  it('shows the host of a look-alike name as the browser reads it', () => {
    const [link] = linksOf('https://gоjek.com/'); // The first o is Cyrillic.
    expect(typeof link === 'object' && hostOf(link)).toMatch(/^xn--/);
  });
});

it('shortens a quote without cutting an emoji in two', () => {
  expect(shorten('halo')).toBe('halo');
  expect(shorten('😀'.repeat(61))).toBe(`${'😀'.repeat(60)}…`);
});

describe('isOnlyEmoji', () => {
  it.each(['😀', '❤️ 👍🏽', '👨‍👩‍👧', '🇮🇩'])('is true for %s', (text) => expect(isOnlyEmoji(text)).toBe(true));
  it.each(['ya 😀', '123', '😀😀😀😀', '', '#'])('is false for %s', (text) =>
    expect(isOnlyEmoji(text)).toBe(false),
  );
});
