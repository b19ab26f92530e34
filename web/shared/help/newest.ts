/** Keeps the newest help lines on this device. */
import { api } from '../api/client';
import { deviceStorage } from '../storage';
import { KEY } from './lines';

/**
 * Fetches the list and keeps it. The browser's cache asks with the ETag, so an unchanged list costs an answer without a
 * body. If the fetch fails, the device keeps the list that it has.
 */
export function keepNewestHelpLines(): void {
  api.get('/api/content/help-lines').then(
    (lines) => deviceStorage.setJson(KEY, lines),
    () => undefined,
  );
}
