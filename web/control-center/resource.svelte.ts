/** A value that a screen reads from the server once, on demand, or repeatedly while the page is visible. */
import { untrack } from 'svelte';
import { loadUntilDone } from '../shared/retry';
import { errorText } from '../shared/words/shared';

export class Resource<Data> {
  value = $state.raw<Data | null>(null);
  /** A sentence about the failure of the last read, or an empty text if the last read succeeded. */
  problem = $state('');
  /** Whether a read is running. During a read, `value` can be out of date. */
  isLoading = $state(false);
  readonly #read: () => Promise<Data>;
  #latest = 0;

  constructor(read: () => Promise<Data>) {
    this.#read = read;
  }

  /**
   * Reads the value now, and again after each temporary error. Returns a function that ends the reads. Callers must
   * call `start` inside an `$effect`.
   */
  start(): () => void {
    return untrack(() => loadUntilDone(() => this.#readOrThrow()));
  }

  /** Reads the value. If a second read starts before the first read ends, the result of the first read is ignored. */
  async load(): Promise<void> {
    // `problem` tells the person why the read failed.
    await this.#readOrThrow().catch(() => undefined);
  }

  async #readOrThrow(): Promise<void> {
    const number = ++this.#latest;
    this.isLoading = true;
    try {
      const value = await this.#read();
      if (number !== this.#latest) return;
      this.value = value;
      this.problem = '';
    } catch (error) {
      if (number !== this.#latest) return;
      this.problem = errorText(error);
      throw error;
    } finally {
      if (number === this.#latest) this.isLoading = false;
    }
  }

  /**
   * Reads the value now, and then repeatedly while the page is visible. The pause after each answer is `milliseconds`
   * long. Callers must call `poll` inside an `$effect`.
   */
  poll(milliseconds: number): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isOver = false;
    const step = async () => {
      clearTimeout(timer);
      if (document.hidden) return;
      await this.load();
      clearTimeout(timer);
      if (!isOver) timer = setTimeout(() => void step(), milliseconds);
    };
    const seen = () => void step();
    document.addEventListener('visibilitychange', seen);
    void step();
    return () => {
      isOver = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }
}
