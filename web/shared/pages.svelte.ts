/**
 * A list that a screen fetches page by page. If a fetch fails, the items stay, and the screen can fetch the failed page
 * again.
 */
import { Loading } from './loading.svelte';

export class Pages<Item> extends Loading {
  /** The items of all pages; undefined until the first page has arrived. */
  items = $state.raw<Item[]>();
  hasMore = $state(false);

  constructor(fetch: (query: { cursor?: string }) => Promise<{ items: Item[]; next_cursor: string | null }>) {
    let cursor: string | null = null;
    super(async () => {
      const page = await fetch(cursor === null ? {} : { cursor });
      this.items = [...(this.items ?? []), ...page.items];
      cursor = page.next_cursor;
      this.hasMore = cursor !== null;
    });
  }
}
