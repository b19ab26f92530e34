/** What the server tells everybody about the service: the prices, and how to reach the team. */
import { api, type Schemas } from '../api/client';

export type ServiceFacts = Schemas['ServiceFacts'];

let facts = $state.raw<ServiceFacts>();
let loading: Promise<void> | undefined;

/** Returns the facts, or undefined before they have arrived. A failed fetch is tried again by the next screen. */
export function serviceFacts(): ServiceFacts | undefined {
  return facts;
}

/** Fetches the facts once. */
export function loadServiceFacts(): void {
  loading ??= api.get('/api/content/service').then(
    (found) => {
      facts = found;
    },
    () => {
      loading = undefined;
    },
  );
}
