/**
 * The chats that the person has left on this device (T.5). A leave stays here until the server has it. Until then, the
 * server perhaps still calls the chat running, and the app does not show it again.
 */
import { deviceStorage } from '../storage';
import type { Side } from '../chat/chat.svelte';

export function leftKey(side: Side, sessionId = ''): string {
  return `curhat:${side}:left:${sessionId}`;
}

/** Returns whether the person has left this chat, and the server has not said yet that it knows. */
export function hasLeft(side: Side, sessionId: string): boolean {
  return deviceStorage.get(leftKey(side, sessionId)) !== null;
}
