import { expect, test } from 'vitest';
import { SafeStorage } from './storage';

/** A storage in which the test can make each operation fail. */
class FakeStorage {
  broken = new Set<'all' | 'get' | 'set' | 'remove'>();
  readonly storage = new SafeStorage(() => this.#open());
  readonly #values = Object.create({
    getItem: (key: string) => this.#use('get', () => this.#values[key] ?? null),
    setItem: (key: string, value: string) => this.#use('set', () => void (this.#values[key] = value)),
    removeItem: (key: string) => this.#use('remove', () => void delete this.#values[key]),
  }) as Record<string, string>;

  #open(): Storage {
    return this.#use('all', () => this.#values as unknown as Storage);
  }

  #use<Result>(part: 'all' | 'get' | 'set' | 'remove', use: () => Result): Result {
    if (this.broken.has(part)) throw new DOMException('', 'SecurityError');
    return use();
  }
}

test('a value survives in the browser', () => {
  const { storage } = new FakeStorage();
  storage.set('key', 'value');
  expect(storage.get('key')).toBe('value');
  expect(storage.get('other')).toBeNull();
  expect(storage.canKeep()).toBe(true);
});

test.each(['all', 'set'] as const)('without the storage (%s), the values stay in memory', (part) => {
  const { storage, broken } = new FakeStorage();
  broken.add(part);
  storage.set('key:1', 'value');
  storage.setJson('key:2', { a: 1 });
  expect(storage.get('key:1')).toBe('value');
  expect(storage.getJson('key:2')).toEqual({ a: 1 });
  expect(storage.keys('key:')).toEqual(['key:1', 'key:2']);
  storage.remove('key:1');
  expect(storage.get('key:1')).toBeNull();
  expect(storage.keys('key:')).toEqual(['key:2']);
  expect(storage.canKeep()).toBe(false);
});

test('a newer value in memory hides the value that the browser could not replace', () => {
  const { storage, broken } = new FakeStorage();
  storage.set('key', 'old');
  broken.add('set').add('remove');
  storage.set('key', 'new');
  expect(storage.get('key')).toBe('new');
  storage.remove('key');
  expect(storage.get('key')).toBeNull();
  broken.clear();
  storage.set('key', 'newest');
  expect(storage.get('key')).toBe('newest');
});

test('a value that cannot be read, or is not JSON, counts as no value', () => {
  const { storage, broken } = new FakeStorage();
  storage.set('key', '{');
  expect(storage.getJson('key')).toBeUndefined();
  broken.add('get');
  expect(storage.get('key')).toBeNull();
});
