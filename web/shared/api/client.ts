/**
 * The API, typed by its contract: `await api.get('/api/client/state')`. A call returns the data of a successful answer,
 * and throws `Refused` in every other case.
 */
import { randomId, timeoutSignal } from '../baseline';
import { learnServerTime } from '../time/clock.svelte';
import type { components } from './openapi';
import type { DataOf, Operation, PathOf, RequestOf } from './typed';

export type Schemas = components['schemas'];

/** A slow network needs several seconds. After this time, the call fails as `unreachable`, with `timedOut`. */
const ANSWER_TIMEOUT_MS = 15_000;
/** The pause before each retry of a command that may have arrived. A retry uses the same key. */
const RETRY_PAUSES_MS = [400, 1200, 3000];

/** `unreachable`: no answer came, and it is not known whether the server got the request. */
export type Code = 'unreachable' | (string & {});

/** A request that the server refused, or did not answer. `code` is a code of the contract. */
export class Refused extends Error {
  constructor(
    readonly code: Code,
    readonly status: number,
    /** The fields of the refusal, such as `payment_id`. */
    readonly problem: Readonly<Record<string, unknown>> = {},
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(code);
  }
}

/** Returns whether the same request may succeed later: there was no answer, or the server is overloaded or broken. */
export function isTemporary(error: unknown): boolean {
  return error instanceof Refused && (error.status === 0 || error.status === 429 || error.status >= 500);
}

/** Returns the refusal's code, or `failed` for any other error. */
export function codeOf(error: unknown): Code {
  return error instanceof Refused ? error.code : 'failed';
}

const signedOutListeners = new Set<() => void>();

/** Calls `listener` each time the server answers that nobody is signed in. */
export function onSignedOut(listener: () => void): void {
  signedOutListeners.add(listener);
}

/** Calls all listeners of `onSignedOut`. */
export function signedOut(): void {
  for (const listener of signedOutListeners) listener();
}

interface AnyRequest {
  path?: Record<string, string>;
  query?: Record<string, unknown>;
  headers?: Record<string, string>;
  body?: unknown;
}

/** A call of one HTTP method. The second argument has the inputs, and is left out if the operation has none. */
type Call<M extends 'get' | 'post' | 'put' | 'patch' | 'delete'> = <P extends PathOf<M>>(
  path: P,
  ...request: unknown extends RequestOf<Operation<P, M>>
    ? []
    : Partial<RequestOf<Operation<P, M>>> extends RequestOf<Operation<P, M>>
      ? [RequestOf<Operation<P, M>>?]
      : [RequestOf<Operation<P, M>>]
) => Promise<DataOf<Operation<P, M>>>;

function method<M extends 'get' | 'post' | 'put' | 'patch' | 'delete'>(name: M): Call<M> {
  return ((path: string, request?: AnyRequest) => send(name.toUpperCase(), path, request)) as Call<M>;
}

export const api = {
  get: method('get'),
  post: method('post'),
  put: method('put'),
  patch: method('patch'),
  delete: method('delete'),
};

async function send(name: string, template: string, request: AnyRequest = {}): Promise<unknown> {
  const { path = {}, query = {}, headers = {}, body } = request;
  const url = new URL(
    template.replace(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(path[key] ?? '')),
    location.origin,
  );
  for (const [key, value] of Object.entries(query))
    if (value !== undefined && value !== null) url.searchParams.set(key, String(value));
  const signal = timeoutSignal(ANSWER_TIMEOUT_MS);
  const options: RequestInit = {
    method: name,
    headers: body === undefined ? headers : { ...headers, 'Content-Type': 'application/json' },
    signal,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
  let response: Response;
  let text: string;
  // Only these two calls fail because of the network. Any other error is a mistake of the app.
  try {
    response = await fetch(url, options);
    text = await response.text();
  } catch {
    throw new Refused('unreachable', 0, { timedOut: signal.aborted });
  }
  let data: unknown;
  try {
    data = text === '' ? undefined : JSON.parse(text);
  } catch {
    // Without JSON, the answer is not from our server. The page of a proxy whose server is broken has a status of 5xx.
    // Any other page is from the network, such as the page of a hotel's network that asks for a password.
    if (response.status < 500) throw new Refused('unreachable', 0);
  }
  const fields = typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {};
  if (response.ok) {
    if (typeof fields.server_now === 'string') learnServerTime(fields.server_now);
    return data;
  }
  const code = typeof fields.code === 'string' ? fields.code : 'failed';
  if (code === 'unauthenticated') signedOut();
  throw new Refused(code, response.status, fields, Number(response.headers.get('Retry-After')) || null);
}

export interface Key {
  'Idempotency-Key': string;
}

/**
 * Runs a command under an idempotency key, and repeats it under that key if no answer comes. So a lost answer does not
 * leave the person in doubt. When the person presses again after a failure, the caller must pass the same `key`.
 *
 * Throws `Refused`.
 */
export async function command<Data>(
  run: (headers: Key) => Promise<Data>,
  key: string = randomId(),
): Promise<Data> {
  const headers = { 'Idempotency-Key': key };
  for (const pause of RETRY_PAUSES_MS) {
    try {
      return await run(headers);
    } catch (error) {
      if (!canRepeat(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return run(headers);
}

function canRepeat(error: unknown): boolean {
  if (!(error instanceof Refused)) return false;
  // presence_unknown is also a 503, but then the server has charged nothing. A retry is not needed.
  if (error.code === 'presence_unknown') return false;
  return (
    ['unreachable', 'idempotency_in_progress'].includes(error.code) || [502, 503, 504].includes(error.status)
  );
}
