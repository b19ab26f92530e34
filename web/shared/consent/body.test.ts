import { expect, test } from 'vitest';
import { blocksOf, titleOf } from './body';

test('a text has a title, headings, paragraphs and lists', () => {
  expect(blocksOf('# Judul\n\nSatu.\n\n## Bagian\n- a\n- b\n\nDua.\n- c\n')).toEqual([
    { kind: 'title', text: 'Judul' },
    { kind: 'paragraph', text: 'Satu.' },
    { kind: 'heading', text: 'Bagian' },
    { kind: 'list', items: ['a', 'b'] },
    { kind: 'paragraph', text: 'Dua.' },
    { kind: 'list', items: ['c'] },
  ]);
});

test('lines of Windows and signs inside a line are no markup', () => {
  expect(blocksOf('Harga - murah\r\n#tagar\r\n')).toEqual([
    { kind: 'paragraph', text: 'Harga - murah' },
    { kind: 'paragraph', text: '#tagar' },
  ]);
});

test('a text without a title gets the other title', () => {
  expect(titleOf('# Ketentuan\nIsi', 'lain')).toBe('Ketentuan');
  expect(titleOf('Isi', 'lain')).toBe('lain');
});
