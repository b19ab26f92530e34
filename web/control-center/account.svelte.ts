/** Who is signed in, and what they may do. The cookie itself is out of reach for scripts. */
import { Account } from '../shared/account.svelte';
import { api, onSignedOut, type Schemas } from '../shared/api/client';

type Permission = Schemas['OperatorAccount']['permissions'][number];

export const account = new Account('curhat:control-center');

let current = $state.raw<Schemas['OperatorAccount'] | null>(null);

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

onSignedOut(() => {
  current = null;
});
