/** A list that is fetched page by page. A page that fails may be asked for again; what is there stays. */
import { sayError } from './words/shared';

export class Pages<Item> {
  /** Undefined until the first page is there. */
  items = $state.raw<Item[]>();
  hasMore = $state(false);
  busy = $state(false);
  /** Why the last page did not come, as a person reads it. */
  problem = $state('');

  readonly #fetch: (query: { cursor?: string }) => Promise<{ items: Item[]; next_cursor: string | null }>;
  #cursor: string | null = null;

  constructor(fetch: (query: { cursor?: string }) => Promise<{ items: Item[]; next_cursor: string | null }>) {
    this.#fetch = fetch;
  }

  /** Fetch the first page, or the next one. */
  load = async (): Promise<void> => {
    if (this.busy) return;
    this.busy = true;
    this.problem = '';
    try {
      const page = await this.#fetch(this.#cursor === null ? {} : { cursor: this.#cursor });
      this.items = [...(this.items ?? []), ...page.items];
      this.#cursor = page.next_cursor;
      this.hasMore = page.next_cursor !== null;
    } catch (error) {
      this.problem = sayError(error);
    } finally {
      this.busy = false;
    }
  };
}
