/**
 * The socket of a client. The connection sends `hello`, resumes from its last position, and reconnects by itself.
 *
 * The connection calls `applyEvent` once for each event of the stream, in order, beginning after the position of the
 * last snapshot. If the server cannot resume from the client's position, the connection first calls `fetchSnapshot`.
 * Each event has a number. The client ignores an event that it has already applied. If the number in an event or a ping
 * is higher than expected, events were lost. After a loss, the client sends `hello` again, and the server sends the
 * lost events. The server sends pings. If the server is silent for too long, the client assumes that the network is
 * gone, even if the browser has not noticed. After a connection has ended, the client waits for a random time. The
 * longest possible wait grows with each failure. When the network returns or the person returns to the page, the client
 * reconnects immediately.
 */
import { randomId } from '../baseline';
import { deviceStorage } from '../storage';
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
  /** The longest silence of a working server: the interval between its pings plus a margin. */
  silenceMs: number;
  /** Fetches the snapshot, shows it, and returns the position after which the stream continues. */
  fetchSnapshot: () => Promise<Position>;
  applyEvent: (event: AnyEvent<Events>) => void;
  /** Called when the other side types in this session. */
  onTyping?: (sessionId: string) => void;
  /** Called with the welcome frame of each connection. For some roles, the `welcome` frame has more fields. */
  onWelcome?: (welcome: Record<string, unknown>) => void;
  onStatus: (status: Status) => void;
  onSignedOut: () => void;
}

/** The status `connecting` lasts a short time, so no screen shows it. The screens show `offline`. */
export type Status = 'connecting' | 'online' | 'offline';

/** Events that wait for a snapshot, each with its number in the stream. */
type HeldEvents<Events> = [number | null, AnyEvent<Events>][];

type ServerFrame =
  | (Schemas['Welcome'] & Record<string, unknown>)
  | { op: 'event'; seq: number | null; type: string; at: string; data: unknown }
  | Schemas['Ping']
  | Schemas['TypingSignal']
  | Schemas['Sent']
  | Schemas['Refused']
  | Schemas['Error'];

const CLOSE_SIGNED_OUT = 4401;
const CLOSE_TOO_SLOW = 4409;
const CLOSE_TOO_FAST = 4429;
const MIN_RECONNECT_MS = 300;
const MAX_RECONNECT_MS = 15_000;
/** The client gives up an attempt to connect after this time, and makes a new attempt. */
const CONNECT_TIMEOUT_MS = 10_000;
/** The server drops a typing signal that arrives less than TYPING_INTERVAL_MS after the previous signal. */
const TYPING_INTERVAL_MS = 2_000;
/** A message that has no answer after this time goes by POST, because the socket is possibly dead. */
const SENT_TIMEOUT_MS = 4_000;

export class Connection<Events> {
  readonly #options: Options<Events>;
  #socket: WebSocket | undefined;
  #position: Position | undefined;
  #status: Status = 'connecting';
  #isStopped = true;
  /** The number of failed attempts since the last `welcome` frame. */
  #failures = 0;
  #reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  #silenceTimer: ReturnType<typeof setTimeout> | undefined;
  /** Whether the client has sent `hello` and waits for the server's `welcome`. */
  #isGreeting = false;
  /** Events that arrive during the fetch of a snapshot; undefined at other times. */
  #held: HeldEvents<Events> | undefined;
  /** The running fetch of a snapshot. The next fetch of a snapshot starts when the running fetch has ended. */
  #fetching: Promise<unknown> = Promise.resolve();
  #typedAt = 0;
  #lastFrameAt = 0;
  /** Maps the client_message_id of each message without an answer to the function that ends the wait. */
  readonly #waiting = new Map<string, (stored?: Schemas['Message']) => void>();

  constructor(options: Options<Events>) {
    this.#options = options;
  }

  /** Connects, resumes after the last snapshot (`refresh`), and stays connected. */
  start(): void {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    window.addEventListener('online', this.#reconnectNow);
    window.addEventListener('offline', this.#handleOffline);
    window.addEventListener('pageshow', this.#reconnectNow);
    document.addEventListener('visibilitychange', this.#handleVisibility);
    this.#connect();
  }

  /** Disconnects, and does not reconnect. */
  stop(): void {
    this.#isStopped = true;
    window.removeEventListener('online', this.#reconnectNow);
    window.removeEventListener('offline', this.#handleOffline);
    window.removeEventListener('pageshow', this.#reconnectNow);
    document.removeEventListener('visibilitychange', this.#handleVisibility);
    clearTimeout(this.#reconnectTimer);
    this.#dropSocket();
  }

  /**
   * Fetches the snapshot now, and continues from its position.
   *
   * Events that arrive during the fetch wait for the snapshot. Because the events wait, a late snapshot cannot
   * overwrite a newer event. An event that the snapshot contains is not applied a second time. Throws `Refused`.
   */
  refresh(): Promise<void> {
    const fetched = this.#fetching.then(() => this.#fetchSnapshot());
    this.#fetching = fetched.catch(() => undefined);
    return fetched;
  }

  /** Tells the other side that this person is typing. Sends at most one signal per TYPING_INTERVAL_MS. */
  sendTyping(sessionId: string): void {
    if (this.#status !== 'online' || Date.now() - this.#typedAt < TYPING_INTERVAL_MS) return;
    this.#typedAt = Date.now();
    this.#send({ op: 'signal', type: 'typing', session_id: sessionId });
  }

  /**
   * Sends a chat message over the socket, and returns the stored message.
   *
   * Returns undefined if the socket is closed, the server refuses, or no answer comes. The caller then repeats the
   * message by POST. The server stores the message only once, and the answer to the POST has the reason of a refusal.
   */
  sendMessage(
    session_id: string,
    message: { client_message_id: string; text: string; reply_to_message_id?: string | null },
  ): Promise<Schemas['Message'] | undefined> {
    return new Promise((resolve) => {
      if (this.#socket?.readyState !== WebSocket.OPEN || this.#isGreeting) return resolve(undefined);
      const end = (stored?: Schemas['Message']) => {
        clearTimeout(timer);
        this.#waiting.delete(message.client_message_id);
        resolve(stored);
      };
      const timer = setTimeout(() => {
        end();
        // The server has sent no frame either, so the network is gone. The next message must not wait for this socket again.
        if (Date.now() - this.#lastFrameAt >= SENT_TIMEOUT_MS) this.#handleEnd(0);
      }, SENT_TIMEOUT_MS);
      this.#waiting.set(message.client_message_id, end);
      this.#send({ op: 'send', session_id, ...message });
    });
  }

  #connect(): void {
    clearTimeout(this.#reconnectTimer);
    this.#dropSocket();
    const url = new URL(this.#options.path, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = (this.#socket = new WebSocket(url));
    this.#expectFrameWithin(CONNECT_TIMEOUT_MS);
    socket.onopen = () => this.#sendHello();
    socket.onmessage = (message: MessageEvent<string>) => {
      this.#lastFrameAt = Date.now();
      this.#expectFrameWithin(this.#options.silenceMs);
      this.#handleFrame(JSON.parse(message.data) as ServerFrame);
    };
    socket.onclose = (close) => this.#handleEnd(close.code);
  }

  #sendHello(): void {
    this.#isGreeting = true;
    this.#send({
      op: 'hello',
      epoch: this.#position?.epoch ?? null,
      seq: this.#position?.seq ?? null,
      device_id: readDeviceId(),
    });
  }

  #handleFrame(frame: ServerFrame): void {
    switch (frame.op) {
      case 'welcome':
        learnServerTime(frame.server_now);
        this.#isGreeting = false;
        this.#failures = 0;
        this.#options.onWelcome?.(frame);
        if (frame.resumed) this.#setStatus('online');
        else void this.#startFromSnapshot();
        break;
      case 'event':
        this.#handleEvent(frame.seq, {
          type: frame.type,
          data: frame.data,
          at: frame.at,
        } as AnyEvent<Events>);
        break;
      case 'ping':
        learnServerTime(frame.server_now);
        this.#send({ op: 'pong' });
        if (this.#held === undefined && this.#position !== undefined && frame.seq > this.#position.seq)
          this.#askForLostEvents();
        break;
      case 'signal':
        this.#options.onTyping?.(frame.session_id);
        break;
      case 'sent':
      case 'refused':
        // Only `sent` has a message.
        this.#waiting.get(frame.client_message_id)?.((frame as Partial<Schemas['Sent']>).message);
        break;
      case 'error':
        console.error('realtime:', frame.detail);
    }
  }

  #handleEvent(seq: number | null, event: AnyEvent<Events>): void {
    if (this.#held !== undefined) {
      this.#held.push([seq, event]);
    } else if (seq === null) {
      this.#options.applyEvent(event);
    } else if (this.#position !== undefined && seq === this.#position.seq + 1) {
      this.#position.seq = seq;
      this.#options.applyEvent(event);
    } else if (this.#position === undefined || seq > this.#position.seq) {
      this.#askForLostEvents();
    }
  }

  #askForLostEvents(): void {
    if (!this.#isGreeting) this.#sendHello();
  }

  /** Replaces the state by a new snapshot, because the server cannot resume from the client's position. */
  async #startFromSnapshot(): Promise<void> {
    const socket = this.#socket;
    try {
      await this.refresh();
    } catch {
      if (socket === this.#socket) socket?.close();
      return;
    }
    if (socket === this.#socket) this.#setStatus('online');
  }

  /** Holds the events that arrive, fetches the snapshot, then applies the held events. */
  async #fetchSnapshot(): Promise<void> {
    const held: HeldEvents<Events> = (this.#held = []);
    try {
      this.#position = { ...(await this.#options.fetchSnapshot()) };
    } catch (error) {
      this.#held = undefined;
      // Drop the held events. The server sends the dropped events again, because the client's position has not changed.
      if (held.length > 0) this.#askForLostEvents();
      throw error;
    }
    this.#held = undefined;
    for (const [seq, event] of held) this.#handleEvent(seq, event);
  }

  /** Runs after the connection has ended. `code`: the socket's close code, or 0 if the client has closed the socket. */
  #handleEnd(code: number): void {
    this.#dropSocket();
    if (this.#isStopped) return;
    if (code === CLOSE_SIGNED_OUT) {
      this.stop();
      this.#options.onSignedOut();
      return;
    }
    if (code !== CLOSE_TOO_SLOW) this.#failures += 1;
    // A restart of the server or a change of networks causes one failure. One failure alone therefore does not mean
    // `offline`.
    if (this.#failures > 1 || !navigator.onLine) this.#setStatus('offline');
    // If a person has 10 sockets, each new socket closes the oldest socket. An immediate reconnect would close another
    // socket of this person.
    const longest =
      code === CLOSE_TOO_FAST
        ? MAX_RECONNECT_MS
        : Math.min(MAX_RECONNECT_MS, MIN_RECONNECT_MS * 2 ** this.#failures);
    // When the server restarts, the random part of the pause spreads the clients' reconnects over time. The pause is at
    // least a quarter of its maximum, so that no client reconnects immediately.
    const wait = longest * (0.25 + 0.75 * Math.random());
    this.#reconnectTimer = setTimeout(() => this.#connect(), wait);
  }

  #dropSocket(): void {
    clearTimeout(this.#silenceTimer);
    const socket = this.#socket;
    this.#socket = undefined;
    this.#isGreeting = false;
    for (const end of this.#waiting.values()) end();
    if (socket === undefined) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #expectFrameWithin(milliseconds: number): void {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#handleEnd(0), milliseconds);
  }

  #send(frame: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #setStatus(status: Status): void {
    if (status === this.#status) return;
    this.#status = status;
    this.#options.onStatus(status);
  }

  readonly #reconnectNow = (): void => {
    if (this.#isStopped || this.#socket?.readyState === WebSocket.OPEN) return;
    this.#failures = 0;
    this.#connect();
  };

  readonly #handleOffline = (): void => {
    this.#setStatus('offline');
    this.#handleEnd(0);
  };

  readonly #handleVisibility = (): void => {
    if (document.visibilityState !== 'visible') return;
    // While the page is in the background, the silence timer does not run. When the page returns, check whether the
    // socket was silent for too long.
    if (
      Date.now() - this.#lastFrameAt > this.#options.silenceMs &&
      this.#socket?.readyState === WebSocket.OPEN
    )
      this.#handleEnd(0);
    this.#reconnectNow();
  };
}

/** Returns the id of this browser profile. The server uses this id to distinguish a person's devices. */
function readDeviceId(): string {
  const key = 'curhat:device';
  let id = deviceStorage.get(key);
  if (id === null) deviceStorage.set(key, (id = randomId()));
  return id;
}
