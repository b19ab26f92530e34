/** The operator who is signed in, with this operator's permissions. */
import { Account } from '../shared/account.svelte';
import { api, onSignedOut, type Schemas } from '../shared/api/client';

type Permission = Schemas['OperatorAccount']['permissions'][number];

export const account = new Account('curhat:control-center');

let current = $state.raw<Schemas['OperatorAccount'] | null>(null);

/** Returns the operator, or null before the server has answered. */
export function operator(): Schemas['OperatorAccount'] | null {
  return current;
}

/**
 * Returns whether the operator has this permission. Screens use the result only to show or hide their parts. The server
 * checks the permission again for each request.
 */
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
