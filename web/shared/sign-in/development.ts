/** Reads the inbox of sent codes, which only a server in development has. Such a server listens on this machine only. */
import { api } from '../api/client';

const IS_THIS_MACHINE = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
/** Any phone number can be used to find out whether there is an inbox. It need not exist. */
const ANY_PHONE = '+6281100000001';

/** Gives the newest code that was sent to this phone; null outside development. */
export async function readCode(phone: string): Promise<string | null> {
  const inbox = await readInbox(phone);
  return inbox?.messages[0]?.code ?? null;
}

/** Says whether the server is in development. */
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
