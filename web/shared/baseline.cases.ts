/**
 * Cases for the ESLint rule of build/eslint-baseline.ts. No module imports this file.
 *
 * ESLint fails if the rule reports a line that has no disable directive. ESLint also fails if a disable directive has
 * nothing to disable.
 */

export function useRefusedFunctions(list: readonly number[], dialog: HTMLDialogElement): unknown[] {
  /* eslint-disable-next-line curhat/supported-by-baseline -- a static method */
  const signal = AbortSignal.any([]);
  /* eslint-disable-next-line curhat/supported-by-baseline -- a method of a read-only list */
  const last = list.findLast((item) => item > 0);
  /* eslint-disable-next-line curhat/supported-by-baseline -- a method of a string */
  const letter = 'text'.at(-1);
  /* eslint-disable-next-line curhat/supported-by-baseline -- a method of a constructor */
  const isOwn = Object.hasOwn({}, 'key');
  /* eslint-disable-next-line curhat/supported-by-baseline -- a property that the type inherits */
  dialog.inert = true;
  /* eslint-disable-next-line curhat/supported-by-baseline -- a global function */
  const copy = structuredClone(list);
  /* eslint-disable-next-line curhat/supported-by-baseline -- a global class */
  const channel = new BroadcastChannel('name');
  /* eslint-disable-next-line curhat/supported-by-baseline -- a destructured method */
  const { randomUUID } = crypto;
  return [signal, last, letter, isOwn, copy, channel, randomUUID];
}

export function useAcceptedFunctions(channel: BroadcastChannel | undefined, element: HTMLElement): unknown[] {
  // Code that the rule must accept: functions that every browser of .browserslistrc has, a method from a mixin, and a
  // type.
  element.replaceChildren(String(channel));
  // Code that the rule must accept: our own functions with the names of newer browser functions.
  const own = { findLast: () => 1, at: () => 2 };
  return [own.findLast(), own.at(), 'text'.replaceAll('t', 'd')];
}
