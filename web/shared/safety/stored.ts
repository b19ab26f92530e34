import type { Schemas } from '../api/client';
import { showToast } from '../ui/toasts.svelte';
import type { Leave } from './leave';
import { leaveWords } from './leaveWords';

/** Says whether the server has stored the report and the block of a leave. */
export function tellStored(notStored: readonly Schemas['NotStored'][], { report, block }: Leave): void {
  const words = leaveWords();
  const refused = notStored[0];
  if (refused !== undefined) showToast(words.notStored[refused.part]);
  else if (report !== undefined && block === true) showToast(words.stored.both);
  else if (report !== undefined) showToast(words.stored.report);
  else if (block === true) showToast(words.stored.block);
}
