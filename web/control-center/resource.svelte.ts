/** Something that the server has: read once, again on demand, or again and again while somebody looks. */
import { sayError } from '../shared/words/shared';

export class Resource<Data> {
  value = $state.raw<Data | null>(null);
  /** Why it could not be read the last time; empty when it could. */
  problem = $state('');
  /** Something else is being read: what is there is of before. */
  isLoading = $state(false);
  readonly #read: () => Promise<Data>;
  #latest = 0;

  constructor(read: () => Promise<Data>) {
    this.#read = read;
  }

  /** Read it. Of two that overlap, the later one counts. */
  async load(): Promise<void> {
    const number = ++this.#latest;
    this.isLoading = true;
    try {
      const value = await this.#read();
      if (number !== this.#latest) return;
      this.value = value;
      this.problem = '';
    } catch (error) {
      if (number === this.#latest) this.problem = sayError(error);
    } finally {
      if (number === this.#latest) this.isLoading = false;
    }
  }

  /** Read it now and this long after each answer, while the page is seen. Call it inside an `$effect`. */
  every(milliseconds: number): () => void {
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
