/** What only a server in development has; it listens on this machine alone, so nobody asks for it elsewhere. */
import { answer, api } from '../api/client';

const IS_THIS_MACHINE = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);

/** The newest code sent to this phone, from the development inbox; null where there is none. */
export async function codeFromInbox(phone: string): Promise<string | null> {
  if (!IS_THIS_MACHINE) return null;
  try {
    const inbox = await answer(api.GET('/api/dev/inbox', { params: { query: { phone } } }));
    return inbox.messages[0]?.code ?? null;
  } catch {
    return null;
  }
}

/** Whether this is a server in development. */
export async function isDevelopment(): Promise<boolean> {
  if (!IS_THIS_MACHINE) return false;
  const { response } = await api.GET('/api/dev/inbox', { params: { query: { phone: '+6281100000001' } } });
  return response.ok;
}
