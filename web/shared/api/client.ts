/** The API, typed by its contract. Every answer comes back as its data, every failure as a `Refused`. */
import createClient from 'openapi-fetch';
import { learnServerTime } from '../time/clock.svelte';
import type { paths } from './openapi';

export type { components } from './openapi';
export type Schemas = import('./openapi').components['schemas'];

/** Slow networks are slow; beyond this a person wants to hear that it did not work. */
const ANSWER_TIMEOUT_MS = 15_000;
/** A command that may have arrived is sent again under the same key: this often, after these pauses. */
const RETRY_PAUSES_MS = [400, 1200, 3000];

/** `unreachable`: no answer came, and nobody knows whether the server got the request. */
export type Code = 'unreachable' | (string & {});

/** A request that was not carried out, or may not have been. `code` is the contract's. */
export class Refused extends Error {
  constructor(
    readonly code: Code,
    readonly status: number,
    /** What came with the refusal, such as `payment_id`. */
    readonly problem: Readonly<Record<string, unknown>> = {},
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(code);
  }
}

/** The refusal's code, or `failed` for what is no refusal. */
export function codeOf(error: unknown): Code {
  return error instanceof Refused ? error.code : 'failed';
}

type Listener = () => void;
const signedOutListeners = new Set<Listener>();

/** Be told when the server no longer knows who we are. */
export function onSignedOut(listener: Listener): void {
  signedOutListeners.add(listener);
}

/** Tell everybody who listens: the server does not know us (any more). */
export function signedOut(): void {
  for (const listener of signedOutListeners) listener();
}

export const api = createClient<paths>({
  credentials: 'same-origin',
  fetch: (request) => fetch(request, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) }),
});

interface Fetched<Data> {
  data?: Data;
  error?: unknown;
  response: Response;
}

/** The data of an answer. Throws `Refused`. */
export async function answer<Data>(request: Promise<Fetched<Data>>): Promise<Data> {
  let fetched: Fetched<Data>;
  try {
    fetched = await request;
  } catch {
    throw new Refused('unreachable', 0);
  }
  const { data, error, response } = fetched;
  if (response.ok) {
    const now = (data as { server_now?: unknown } | undefined)?.server_now;
    if (typeof now === 'string') learnServerTime(now);
    return data as Data;
  }
  const problem = typeof error === 'object' && error !== null ? (error as Record<string, unknown>) : {};
  const code = typeof problem.code === 'string' ? problem.code : 'failed';
  if (code === 'unauthenticated') signedOut();
  throw new Refused(code, response.status, problem, Number(response.headers.get('Retry-After')) || null);
}

export interface Key {
  'Idempotency-Key': string;
}

/**
 * A command under a key of its own. It is repeated under that key when no answer came, so that a lost answer does
 * not leave anybody guessing. Throws `Refused`.
 */
export async function command<Data>(send: (header: Key) => Promise<Fetched<Data>>): Promise<Data> {
  const header = { 'Idempotency-Key': crypto.randomUUID() };
  for (const pause of RETRY_PAUSES_MS) {
    try {
      return await answer(send(header));
    } catch (error) {
      if (!isWorthRepeating(error)) throw error;
      await new Promise((resume) => setTimeout(resume, pause));
    }
  }
  return answer(send(header));
}

function isWorthRepeating(error: unknown): boolean {
  if (!(error instanceof Refused)) return false;
  // presence_unknown is a 503 too, and an answer: it was decided that nothing is charged.
  if (error.code === 'presence_unknown') return false;
  return (
    ['unreachable', 'idempotency_in_progress'].includes(error.code) || [502, 503, 504].includes(error.status)
  );
}
