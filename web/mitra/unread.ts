import { work } from './work.svelte';

/** Counts the customer's messages in this chat that the mitra has not seen. */
export function countUnread(sessionId: string): number {
  const messages = work.chats.get(sessionId)?.messages ?? [];
  return messages.filter((message) => message.sender === 'customer' && message.read_at === null).length;
}
