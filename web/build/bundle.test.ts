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
  ['/(?<=a)b/', 'a regular expression with a lookbehind'],
  ['/(?<!a)b/', 'a regular expression with a lookbehind'],
  ['a?.(...b)', 'call?.(...list)'],
  ['const a = await b()', 'await outside of a function'],
  ['export {}; if (a) for await (const b of c) d(b)', 'await outside of a function'],
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
  '/(?<name>a)b/',
  'async () => { for await (const b of await c()) d(b) }',
  'class A { async b() { await c() } }',
])('%s is supported, or a name of our own', (script) => {
  expect(findUnsupported(script)).toEqual([]);
});
