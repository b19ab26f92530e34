/** Who is signed in, and what they may do. The cookie itself is out of reach for scripts. */
import { api, onSignedOut, type Schemas } from '../shared/api/client';

const KEY = 'curhat:control-center';

type Permission = Schemas['OperatorAccount']['permissions'][number];

let known = $state(localStorage.getItem(KEY) !== null);
let current = $state.raw<Schemas['OperatorAccount'] | null>(null);

export function isSignedIn(): boolean {
  return known;
}

/** The operator, once the server has said who it is. */
export function operator(): Schemas['OperatorAccount'] | null {
  return current;
}

/** Whether to show what needs this. The server decides again, each time. */
export function may(permission: Permission): boolean {
  return current?.permissions.includes(permission) ?? false;
}

/** Ask the server who we are. Throws `Refused`. */
export async function loadOperator(): Promise<void> {
  current = await api.get('/api/control-center/auth/me');
}

/** The password was accepted: the cookie is there. */
export function signedIn(): void {
  localStorage.setItem(KEY, 'signed in');
  known = true;
}

onSignedOut(() => {
  localStorage.removeItem(KEY);
  current = null;
  known = false;
});
