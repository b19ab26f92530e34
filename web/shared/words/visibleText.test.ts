import { expect, test } from 'vitest';
import cases from './visibleText.cases.json';
import { hasSomethingToSee, initialOf, isolated } from './visibleText';

test.each(cases)('the client and the server agree whether there is something to see: $name', (one) => {
  expect(hasSomethingToSee(one.text)).toBe(one.visible);
});

test('only a name that is written from right to left is isolated', () => {
  expect(isolated('Bunga')).toBe('Bunga');
  expect(isolated('小花 🌸')).toBe('小花 🌸');
  expect(isolated('عائشة')).toBe('\u2068عائشة\u2069');
  expect(isolated('Siti שרה')).toBe('\u2068Siti שרה\u2069');
});

test('the initial of a name is a whole character', () => {
  expect(initialOf('Bunga')).toBe('B');
  expect(initialOf('🌸 Mawar')).toBe('🌸');
  expect(initialOf('')).toBe('');
});
