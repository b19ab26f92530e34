/** The operations about blocks, under the HTTP paths of one side (customer or mitra). */
import { api, codeOf, type Schemas } from '../api/client';
import type { Side } from '../chat/chat.svelte';
import { errorText } from '../words/shared';
import { blockWords } from './blockWords';

export type Block = Schemas['Block'];

/** Blocks the other side of a past chat. Repeating it changes nothing. Throws `Refused`. */
export function block(side: Side, sessionId: string): Promise<unknown> {
  const path = { session_id: sessionId };
  return side === 'customer'
    ? api.post('/api/client/sessions/{session_id}/block', { path })
    : api.post('/api/mitra/sessions/{session_id}/block', { path });
}

/** Undoes this person's own block. Repeating it changes nothing. */
export function unblock(side: Side, sessionId: string): Promise<unknown> {
  const path = { session_id: sessionId };
  return side === 'customer'
    ? api.delete('/api/client/sessions/{session_id}/block', { path })
    : api.delete('/api/mitra/sessions/{session_id}/block', { path });
}

/** Fetches this person's own blocks, newest first. */
export async function fetchBlocks(side: Side): Promise<Block[]> {
  const { items } =
    side === 'customer' ? await api.get('/api/client/blocks') : await api.get('/api/mitra/blocks');
  return items;
}

/** Returns the sentence that explains why a block or its undoing did not happen. */
export function blockProblem(error: unknown): string {
  if (codeOf(error) === 'session_running') return blockWords().running;
  if (codeOf(error) === 'too_many_blocks') return blockWords().full;
  return errorText(error);
}
