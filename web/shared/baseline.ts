/** Replaces functions that the oldest supported browsers (.browserslistrc) lack. */

/** Does the same as `items.at(-1)`. */
export function lastOf<Item>(items: readonly Item[]): Item | undefined {
  return items[items.length - 1];
}

/** Does the same as `items.findLast(matches)`. */
export function findLast<Item>(items: readonly Item[], matches: (item: Item) => boolean): Item | undefined {
  return [...items].reverse().find(matches);
}

/** Does the same as `crypto.randomUUID()`. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  // Mark the bytes as a UUID of version 4, variant 1 (RFC 9562).
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Does the same as `AbortSignal.timeout(milliseconds)`. */
export function timeoutSignal(milliseconds: number): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), milliseconds);
  return controller.signal;
}
