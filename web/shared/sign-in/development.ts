/**
 * Reads the inbox of sent codes. Only a development server has this inbox. A development server listens on loopback
 * only.
 */
import { api } from '../api/client';

const IS_THIS_MACHINE = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
/**
 * The client requests the inbox of this phone number to find out whether the server has an inbox. The request works
 * even if no account has this phone number.
 */
const ANY_PHONE = '+6281100000001';

/** Returns the newest code that the server sent to this phone. Outside development, returns null. */
export async function readCode(phone: string): Promise<string | null> {
  const inbox = await readInbox(phone);
  return inbox?.messages[0]?.code ?? null;
}

/** Returns whether the server is in development. */
export async function isDevelopment(): Promise<boolean> {
  return (await readInbox(ANY_PHONE)) !== null;
}

async function readInbox(phone: string) {
  if (!IS_THIS_MACHINE) return null;
  try {
    return await api.get('/api/dev/inbox', { query: { phone } });
  } catch {
    return null;
  }
}
