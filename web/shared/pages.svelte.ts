/**
 * A list that a screen fetches page by page. After a failure, the items stay, and the screen can fetch the page again.
 */
import { errorText } from './words/shared';

export class Pages<Item> {
  /** The items of all pages; undefined until the first page has arrived. */
  items = $state.raw<Item[]>();
  hasMore = $state(false);
  busy = $state(false);
  /** Why the last page could not be fetched, in a sentence for the person; empty after a success. */
  problem = $state('');

  readonly #fetch: (query: { cursor?: string }) => Promise<{ items: Item[]; next_cursor: string | null }>;
  #cursor: string | null = null;

  constructor(fetch: (query: { cursor?: string }) => Promise<{ items: Item[]; next_cursor: string | null }>) {
    this.#fetch = fetch;
  }

  /** Fetches the first page, or the next page. */
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
      this.problem = errorText(error);
    } finally {
      this.busy = false;
    }
  };
}
