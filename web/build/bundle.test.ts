// @vitest-environment node
import { expect, test } from 'vitest';
import { findUnsupported } from './bundle.ts';

test.each([
  ['AbortSignal.any([a])', 'AbortSignal.any'],
  ['a.signal = AbortSignal.timeout(5)', 'AbortSignal.timeout'],
  ['structuredClone(a)', 'structuredClone'],
  ['new BroadcastChannel("a")', 'BroadcastChannel'],
  ['Object.hasOwn(a, "b")', 'Object.hasOwn'],
  ['Object.groupBy(a, b)', 'Object.groupBy'],
  ['a.b.at(-1)', '.at()'],
  ['a?.findLast(b)', '.findLast()'],
  ['a.toSorted()', '.toSorted()'],
  ['class A { static { b() } }', 'static {}'],
  ['class A { #a; b(c) { return #a in c } }', '#name in object'],
  ['/a/v', 'a regular expression with the flag d or v'],
  ['a?.(...b)', 'call?.(...list)'],
])('%s is found in a script', (script, name) => {
  expect(findUnsupported(script)).toEqual([name]);
});

test.each([
  'a.at',
  'a.session()',
  'a.replaceAll("b", "c")',
  'a.flatMap(b)',
  '({ structuredClone: 1 })',
  'a.Notification',
])('%s is supported, or a name of our own', (script) => {
  expect(findUnsupported(script)).toEqual([]);
});
