/** Whether a mitra is signed in, as far as this device knows: the cookie itself is out of reach for scripts. */
import { onSignedOut } from '../shared/api/client';

const KEY = 'curhat:mitra';

let known = $state(localStorage.getItem(KEY) !== null);

export function isSignedIn(): boolean {
  return known;
}

/** A code was accepted: the cookie is there. */
export function signedIn(): void {
  localStorage.setItem(KEY, 'signed in');
  known = true;
}

onSignedOut(() => {
  // What one person wrote and read is not the next one's: all keys of this role begin with KEY.
  for (const key of Object.keys(localStorage)) if (key.startsWith(KEY)) localStorage.removeItem(key);
  sessionStorage.clear();
  known = false;
});
