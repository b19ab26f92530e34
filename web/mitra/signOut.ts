import { api, signedOut } from '../shared/api/client';

/** Signs out on this device. Throws `Refused` if the server does not confirm the sign-out. */
export async function signOut(): Promise<void> {
  await api.post('/api/mitra/auth/logout');
  signedOut();
}
