/**
 * The socket of a client: says hello, resumes where it was, and comes back by itself.
 *
 * What it promises the store behind it
 *   `apply` gets every event of the stream once and in order, beginning after the position of the last snapshot.
 *   When the server cannot resume from there, `refetch` is asked for a new snapshot first.
 * How
 *   A number that was applied already is ignored. One that is too high, in an event or a ping, means that something
 *   was lost: we say hello again and get it. The server pings; silence for too long means that the network is gone,
 *   whatever the browser believes. After an end we wait a random time, longer each time, and come back at once when
 *   the network or the person does.
 */
import { randomId } from '../baseline';
import { learnServerTime } from '../time/clock.svelte';
import type { Schemas } from './frames';

export interface Position {
  epoch: string;
  seq: number;
}

export interface Event<Type, Data> {
  type: Type;
  data: Data;
  at: string;
}

type AnyEvent<Events> = { [Type in keyof Events]: Event<Type, Events[Type]> }[keyof Events];

export interface Options<Events> {
  path: '/api/client/realtime' | '/api/mitra/realtime';
  /** The longest silence of a living server: its ping's interval and some patience. */
  silenceMs: number;
  /** Fetch the snapshot, show it, and say from where the stream goes on. May be tried again when it rejects. */
  refetch: () => Promise<Position>;
  apply: (event: AnyEvent<Events>) => void;
  typing?: (sessionId: string) => void;
  /** The welcome of this connection, with the further fields of this role. */
  welcomed?: (welcome: Record<string, unknown>) => void;
  status: (status: Status) => void;
  signedOut: () => void;
}

/** `connecting` is short and not worth a word; `offline` is shown. */
export type Status = 'connecting' | 'online' | 'offline';

/** Events that wait, each with its number in the stream. */
type Held<Events> = [number | null, AnyEvent<Events>][];

type ServerFrame =
  | (Schemas['Welcome'] & Record<string, unknown>)
  | { op: 'event'; seq: number | null; type: string; at: string; data: unknown }
  | Schemas['Ping']
  | Schemas['TypingSignal']
  | Schemas['Error'];

const SIGNED_OUT = 4401;
const TOO_SLOW = 4409;
const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 15_000;
/** An attempt that takes longer than this is given up, for a new one. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Between two typing signals: the server lets no more through. */
const TYPING_EVERY_MS = 2_000;

export class Connection<Events> {
  readonly #options: Options<Events>;
  #socket: WebSocket | undefined;
  #position: Position | undefined;
  #status: Status = 'connecting';
  #isStopped = true;
  #failures = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  /** Said hello and not been welcomed yet. */
  #isGreeting = false;
  /** What came while a snapshot was being fetched. */
  #held: Held<Events> | undefined;
  /** The snapshot that is being fetched, after which the next one begins. */
  #fetching: Promise<unknown> = Promise.resolve();
  #typedAt = 0;
  #lastHeardAt = 0;

  constructor(options: Options<Events>) {
    this.#options = options;
  }

  /** Connect, from the position of the snapshot that is shown (`refresh`), and stay connected. */
  start(): void {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    window.addEventListener('online', this.#hurry);
    window.addEventListener('offline', this.#lost);
    window.addEventListener('pageshow', this.#hurry);
    document.addEventListener('visibilitychange', this.#seen);
    this.#connect();
  }

  /** Disconnect, for good. */
  stop(): void {
    this.#isStopped = true;
    window.removeEventListener('online', this.#hurry);
    window.removeEventListener('offline', this.#lost);
    window.removeEventListener('pageshow', this.#hurry);
    document.removeEventListener('visibilitychange', this.#seen);
    clearTimeout(this.#retry);
    this.#drop();
  }

  /**
   * Look at the snapshot now, and go on from it. Events wait meanwhile: a snapshot that comes late covers none of
   * them, and none that it contains already is shown after it. Throws `Refused`.
   */
  refresh(): Promise<void> {
    const fetched = this.#fetching.then(() => this.#refetch());
    this.#fetching = fetched.catch(() => undefined);
    return fetched;
  }

  /** Tell the other side that somebody types. Says it once in a while, however often it is called. */
  typed(sessionId: string): void {
    if (this.#status !== 'online' || Date.now() - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = Date.now();
    this.#send({ op: 'signal', type: 'typing', session_id: sessionId });
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#drop();
    const url = new URL(this.#options.path, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = (this.#socket = new WebSocket(url));
    this.#expectWithin(CONNECT_TIMEOUT_MS);
    socket.onopen = () => this.#hello();
    socket.onmessage = (message: MessageEvent<string>) => {
      this.#lastHeardAt = Date.now();
      this.#expectWithin(this.#options.silenceMs);
      this.#heard(JSON.parse(message.data) as ServerFrame);
    };
    socket.onclose = (end) => this.#ended(end.code);
  }

  #hello(): void {
    this.#isGreeting = true;
    this.#send({
      op: 'hello',
      epoch: this.#position?.epoch ?? null,
      seq: this.#position?.seq ?? null,
      device_id: deviceId(),
    });
  }

  #heard(frame: ServerFrame): void {
    switch (frame.op) {
      case 'welcome':
        learnServerTime(frame.server_now);
        this.#isGreeting = false;
        this.#failures = 0;
        this.#options.welcomed?.(frame);
        if (frame.resumed) this.#tell('online');
        else void this.#beginAnew();
        break;
      case 'event':
        this.#event(frame.seq, { type: frame.type, data: frame.data, at: frame.at } as AnyEvent<Events>);
        break;
      case 'ping':
        learnServerTime(frame.server_now);
        this.#send({ op: 'pong' });
        if (this.#held === undefined && this.#position !== undefined && frame.seq > this.#position.seq)
          this.#sayHelloAgain();
        break;
      case 'signal':
        this.#options.typing?.(frame.session_id);
        break;
      case 'error':
        console.error('realtime:', frame.detail);
    }
  }

  #event(seq: number | null, event: AnyEvent<Events>): void {
    if (this.#held !== undefined) {
      this.#held.push([seq, event]);
    } else if (seq === null) {
      this.#options.apply(event);
    } else if (this.#position !== undefined && seq === this.#position.seq + 1) {
      this.#position.seq = seq;
      this.#options.apply(event);
    } else if (this.#position === undefined || seq > this.#position.seq) {
      this.#sayHelloAgain();
    }
  }

  #sayHelloAgain(): void {
    if (!this.#isGreeting) this.#hello();
  }

  /** The server cannot resume from where we are. */
  async #beginAnew(): Promise<void> {
    const socket = this.#socket;
    try {
      await this.refresh();
    } catch {
      if (socket === this.#socket) socket?.close();
      return;
    }
    if (socket === this.#socket) this.#tell('online');
  }

  /** First hold what comes, then fetch the snapshot, then apply what came meanwhile. */
  async #refetch(): Promise<void> {
    const held: Held<Events> = (this.#held = []);
    try {
      this.#position = { ...(await this.#options.refetch()) };
    } catch (error) {
      this.#held = undefined;
      // They come again, from where we still are.
      if (held.length > 0) this.#sayHelloAgain();
      throw error;
    }
    this.#held = undefined;
    for (const [seq, event] of held) this.#event(seq, event);
  }

  #ended(code: number): void {
    this.#drop();
    if (this.#isStopped) return;
    if (code === SIGNED_OUT) {
      this.stop();
      this.#options.signedOut();
      return;
    }
    if (code !== TOO_SLOW) this.#failures += 1;
    // One that fails once is a restart or a change of networks; people hear of it when it lasts.
    if (this.#failures > 1 || !navigator.onLine) this.#tell('offline');
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    // At least some of it, so that many clients of a server that restarts do not all come at once.
    this.#retry = setTimeout(() => this.#connect(), longest * (0.25 + 0.75 * Math.random()));
  }

  #drop(): void {
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = undefined;
    this.#isGreeting = false;
    if (socket === undefined) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #expectWithin(milliseconds: number): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#ended(0), milliseconds);
  }

  #send(frame: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #tell(status: Status): void {
    if (status === this.#status) return;
    this.#status = status;
    this.#options.status(status);
  }

  readonly #hurry = (): void => {
    if (this.#isStopped || this.#socket?.readyState === WebSocket.OPEN) return;
    this.#failures = 0;
    this.#connect();
  };

  readonly #lost = (): void => {
    this.#tell('offline');
    this.#ended(0);
  };

  readonly #seen = (): void => {
    if (document.visibilityState !== 'visible') return;
    // Timers sleep with the page. A socket that has been silent for longer than a living one can be is dead.
    if (
      Date.now() - this.#lastHeardAt > this.#options.silenceMs &&
      this.#socket?.readyState === WebSocket.OPEN
    )
      this.#ended(0);
    this.#hurry();
  };
}

/** One for each browser profile: tells a person's devices apart. */
function deviceId(): string {
  const key = 'curhat:device';
  let id = localStorage.getItem(key);
  if (id === null) localStorage.setItem(key, (id = randomId()));
  return id;
}
