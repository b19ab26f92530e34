import { Account } from '../shared/account.svelte';

export const account = new Account('curhat:customer');
