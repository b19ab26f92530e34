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
  ['.a.svelte-x p:where(.svelte-x) { }', '.a p.svelte-x { }'],
  ['.a.svelte-x .b:where(.svelte-x) > i:where(.svelte-x):nth-child(2)', '.a .b > i.svelte-x:nth-child(2)'],
  ['.a.svelte-x .b:where(.svelte-x) svg, .c.svelte-x { }', '.a .b.svelte-x svg, .c.svelte-x { }'],
  ['.a.svelte-x { } .b.svelte-x i:where(.svelte-x) { }', '.a.svelte-x { } .b i.svelte-x { }'],
])('%s becomes %s', (style, expected) => {
  expect(withoutWhere(style)).toBe(expected);
});
