/**
 * Asks the server every 5 s whether a bestie is available. In the background, the page does not ask (1.3).
 *
 * `null` means that the client does not know whether a bestie is available. A failed poll means `nobody` (1.6). When
 * the page goes to the background, the client forgets the last answer.
 */
import type { Schemas } from '../shared/api/client';

/** `others` means that the chosen mitra is not available, but another mitra is available. */
type Availability = 'available' | 'others' | 'nobody';

const POLL_INTERVAL_MS = 5_000;
const POLL_TIMEOUT_MS = 4_000;

let available = $state<Availability | null>(null);

export function isAvailable(): boolean | null {
  return available === null ? null : available !== 'nobody';
}

/** Returns whether the chosen mitra is not available, but another mitra is available. */
export function areOnlyOthersAvailable(): boolean {
  return available === 'others';
}

/**
 * Callers use this function when the server has refused a command because nobody is available. The next poll can report
 * that somebody is available.
 */
export function reportNobody(): void {
  available = 'nobody';
}

/**
 * Polls while the component exists. Callers must call `pollAvailability` inside an `$effect`.
 *
 * If the customer has chosen a mitra, the poll asks for the status of this mitra (3.6).
 */
export function pollAvailability(mitraId?: string): () => void {
  const path = mitraId ? `/api/client/mitras/${mitraId}/status` : '/api/client/mitra-availability';
  let timer: ReturnType<typeof setInterval> | undefined;
  /** The latest poll. The client ignores the answers to all polls before the latest poll. */
  let latest: AbortController | undefined;

  async function poll(): Promise<void> {
    cancelPoll();
    const own = (latest = new AbortController());
    const timeout = setTimeout(() => own.abort(), POLL_TIMEOUT_MS);
    let answer: Availability = 'nobody';
    try {
      const response = await fetch(path, { signal: own.signal, cache: 'no-store' });
      if (response.ok) answer = read(await response.json());
    } catch {
      // A poll without an answer means that nobody is available.
    } finally {
      clearTimeout(timeout);
    }
    if (own === latest) available = answer;
  }

  function cancelPoll(): void {
    latest?.abort();
    latest = undefined;
  }

  function restart(): void {
    clearInterval(timer);
    if (document.visibilityState === 'visible') {
      timer = setInterval(poll, POLL_INTERVAL_MS);
      void poll();
    } else {
      cancelPoll();
      available = null;
    }
  }

  function handleOffline(): void {
    cancelPoll();
    available = 'nobody';
  }

  document.addEventListener('visibilitychange', restart);
  addEventListener('offline', handleOffline);
  addEventListener('online', restart);
  restart();
  return () => {
    document.removeEventListener('visibilitychange', restart);
    removeEventListener('offline', handleOffline);
    removeEventListener('online', restart);
    clearInterval(timer);
    cancelPoll();
    available = null;
  };
}

function read(answer: Partial<Schemas['Availability'] & Schemas['MitraStatusAnswer']>): Availability {
  if (answer.available === true || answer.status === 'available') return 'available';
  return answer.other_available === true ? 'others' : 'nobody';
}
