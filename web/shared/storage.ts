/**
 * The browser's storage, which may be missing, full or forbidden.
 *
 * A browser may refuse each access to `localStorage`, or only each write (a full disk, a private window). The app then
 * keeps the value in memory until the page closes. So no caller needs to handle an error. Use no other access to
 * `localStorage` and `sessionStorage`: ESLint checks this.
 */
export class SafeStorage {
  readonly #open: () => Storage;
  /** The values that the browser did not accept. null: the browser did not remove the value. */
  readonly #memory = new Map<string, string | null>();

  /** `open` returns the browser's storage. It may throw. */
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

  /** Returns the value that `setJson` has stored; undefined if there is none, or if it is not JSON. */
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
      // There are only the values in memory.
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
