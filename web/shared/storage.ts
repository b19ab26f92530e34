/**
 * Access to the browser's storage, even if the storage is missing, full or forbidden.
 *
 * A browser can refuse every access to `localStorage`. On a full disk or in a private window, a browser can refuse only
 * the writes. If the browser refuses, the app keeps the value in memory until the page closes. Callers never need to
 * handle an error of the storage. All code must use `deviceStorage` and `tabStorage` instead of `localStorage` and
 * `sessionStorage`. ESLint checks this rule.
 */
export class SafeStorage {
  readonly #open: () => Storage;
  /**
   * The values that the browser refused to store. If the browser refused to remove a value, the value's entry is null.
   */
  readonly #memory = new Map<string, string | null>();

  /** The function `open` returns the browser's storage. It may throw. */
  constructor(open: () => Storage) {
    this.#open = open;
  }

  get(key: string): string | null {
    const kept = this.#memory.get(key);
    if (kept !== undefined) return kept;
    try {
      return this.#open().getItem(key);
    } catch {
      return null;
    }
  }

  /**
   * Returns the value that `setJson` stored. Returns undefined if there is no value or if the stored text is not JSON.
   */
  getJson(key: string): unknown {
    try {
      return JSON.parse(this.get(key) ?? '') as unknown;
    } catch {
      return undefined;
    }
  }

  set(key: string, value: string): void {
    try {
      this.#open().setItem(key, value);
      this.#memory.delete(key);
    } catch {
      this.#memory.set(key, value);
    }
  }

  setJson(key: string, value: unknown): void {
    this.set(key, JSON.stringify(value));
  }

  remove(key: string): void {
    try {
      this.#open().removeItem(key);
      this.#memory.delete(key);
    } catch {
      this.#memory.set(key, null);
    }
  }

  /** Returns the keys that begin with `prefix`. */
  keys(prefix: string): string[] {
    let stored: string[] = [];
    try {
      stored = Object.keys(this.#open());
    } catch {
      // The browser refused, so return only the keys in memory.
    }
    return [...new Set([...stored, ...this.#memory.keys()])].filter(
      (key) => key.startsWith(prefix) && this.get(key) !== null,
    );
  }

  /** Returns whether the browser keeps a value over a reload. */
  canKeep(): boolean {
    try {
      const storage = this.#open();
      storage.setItem('curhat:probe', '');
      storage.removeItem('curhat:probe');
      return true;
    } catch {
      return false;
    }
  }
}

/** The values of this browser profile. All tabs share them. */
export const deviceStorage = new SafeStorage(() => localStorage);
/** The values of this tab. They survive a reload. */
export const tabStorage = new SafeStorage(() => sessionStorage);
