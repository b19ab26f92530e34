/** Keeps what a screen shows of the customer's payments up to date. */
import { onMount, untrack } from 'svelte';
import type { Loading } from '../shared/loading.svelte';
import { journey } from './journey.svelte';

/**
 * Loads again after each change of the customer's payments. A change that arrives during a load causes one more load
 * after it, because the running load has perhaps read the payment before the change. Components call this function while
 * they are initialised. With `startsNow`, it also loads at once.
 */
export function followMoney(loading: Loading, startsNow = true): void {
  let loaded = journey.moneyChanges;
  onMount(() => {
    const stop = startsNow ? loading.start() : undefined;
    return stop;
  });
  $effect(() => {
    const { moneyChanges } = journey;
    if (loading.busy || moneyChanges === loaded) return;
    untrack(() => {
      loaded = moneyChanges;
      loading.load();
    });
  });
}
