/** The operator who is signed in, and what this operator may do. */
import { Account } from '../shared/account.svelte';
import { api, onSignedOut, type Schemas } from '../shared/api/client';

type Permission = Schemas['OperatorAccount']['permissions'][number];

export const account = new Account('curhat:control-center');

let current = $state.raw<Schemas['OperatorAccount'] | null>(null);

/** Gives the operator; null until the server has said who it is. */
export function operator(): Schemas['OperatorAccount'] | null {
  return current;
}

/** Says whether to show what needs this permission. The server checks it again at each request. */
export function may(permission: Permission): boolean {
  return current?.permissions.includes(permission) ?? false;
}

/** Fetches the operator who is signed in. Throws `Refused`. */
export async function loadOperator(): Promise<void> {
  current = await api.get('/api/control-center/auth/me');
}

onSignedOut(() => {
  current = null;
});
