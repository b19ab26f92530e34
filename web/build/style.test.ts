// @vitest-environment node
import { expect, test } from 'vitest';
import { findUnsupportedStyle, withoutWhere } from './style.ts';

test.each([
  [':where(.a) { color: red }', ':where'],
  ['a:is(.b, .c) { color: red }', ':is'],
  ['.a:has(.b) { color: red }', ':has'],
  ['.a { aspect-ratio: 1 }', 'aspect-ratio'],
  ['.a { width: -webkit-fill-available; height: stretch }', 'height: stretch'],
  ['.a { height: 100dvh }', 'the unit dvh'],
  ['.a { color: color-mix(in srgb, red, blue) }', 'color-mix()'],
  ['@media (min-width: 1px) { .a { aspect-ratio: 1 } }', 'aspect-ratio'],
  ['@layer a { .a { color: red } }', '@layer'],
  ['@container (min-width: 1px) { .a { color: red } }', '@container'],
  ['a, :focus-visible { color: red }', ':focus-visible in a list of selectors'],
])('%s: %s is found in a style', (style, name) => {
  expect(findUnsupportedStyle(style)).toContain(name);
});

test.each([
  '.a:not(.b)::before { inset: 0; gap: clamp(1px, 2vw, 3px); color: var(--stretch); content: "dvh" }',
  '@supports (height: 100dvh) { :root { --screen: 100dvh } }',
  '@keyframes rise { from { opacity: 0 } }',
  '@media (prefers-reduced-motion: reduce) { * { animation: none !important } }',
  ':focus-visible { outline: none }',
])('%s is supported, or asked for first', (style) => {
  expect(findUnsupportedStyle(style)).toEqual([]);
});

test.each([
  ['.a.c1a2 p:where(.c1a2) { }', '.a p.c1a2 { }'],
  ['.a.c1a2 .b:where(.c1a2) > i:where(.c1a2):nth-child(2)', '.a .b > i.c1a2:nth-child(2)'],
  ['.a.c1a2 .b:where(.c1a2) svg, .c.c1a2 { }', '.a .b.c1a2 svg, .c.c1a2 { }'],
  ['.a.c1a2 { } .b.c1a2 i:where(.c1a2) { }', '.a.c1a2 { } .b i.c1a2 { }'],
])('%s becomes %s', (style, expected) => {
  expect(withoutWhere(style)).toBe(expected);
});
