/** What a client does some time after its start: checks for a new version, and keeps the newest help lines. */
import { keepNewestHelpLines } from './help/newest';
import { watchVersion } from './version.svelte';

export function startLater(): void {
  watchVersion();
  keepNewestHelpLines();
}
