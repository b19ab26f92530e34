import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Connection, type Event, type Position } from './connection';

interface Events {
  note: string;
}

/** A socket. The test acts as the server. */
class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: Record<string, unknown>[] = [];
  isClosed = false;
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((close: { code: number }) => void) | null = null;

  constructor(readonly url: URL) {
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.readyState = 3;
    this.isClosed = true;
  }

  open(): void {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
  }

  receive(frame: Record<string, unknown>): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  welcome(resumed = true): void {
    this.receive({ op: 'welcome', epoch: EPOCH, seq: 0, resumed, server_now: new Date().toISOString() });
  }

  event(seq: number | null, data: string): void {
    this.receive({ op: 'event', seq, type: 'note', at: '2026-11-24T13:05:00Z', data });
  }

  ping(seq: number): void {
    this.receive({ op: 'ping', seq, server_now: new Date().toISOString() });
  }

  end(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }

  /** The `hello` frames that the client has sent on this socket. */
  get hellos(): Record<string, unknown>[] {
    return this.sent.filter((frame) => frame.op === 'hello');
  }
}

const EPOCH = 'epoch-1';
const SILENCE_MS = 9_000;

/** The calls to the store, in order, such as `snapshot 5` and `event a`. */
let seen: string[];
let statuses: string[];
let fetchSnapshot: ReturnType<typeof vi.fn<() => Promise<Position>>>;
let onSignedOut: ReturnType<typeof vi.fn<() => void>>;
let onTyping: ReturnType<typeof vi.fn<(sessionId: string) => void>>;
let connection: Connection<Events>;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  // The random number 1 gives each wait before a reconnect its maximum length.
  vi.spyOn(Math, 'random').mockReturnValue(1);
  localStorage.clear();
  FakeSocket.all = [];
  seen = [];
  statuses = [];
  onSignedOut = vi.fn();
  onTyping = vi.fn();
  fetchSnapshot = vi.fn(() => snapshot(5));
  connection = new Connection<Events>({
    path: '/api/client/realtime',
    silenceMs: SILENCE_MS,
    fetchSnapshot: () => fetchSnapshot(),
    applyEvent: (event: Event<'note', string>) => seen.push(`event ${event.data}`),
    onTyping,
    onStatus: (status) => statuses.push(status),
    onSignedOut,
  });
});

afterEach(() => {
  connection.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** Acts as a store that applies a snapshot. Records the call, and returns the position `seq`. */
function snapshot(seq: number): Promise<Position> {
  seen.push(`snapshot ${seq}`);
  return Promise.resolve({ epoch: EPOCH, seq });
}

/** Lets the test choose the time and the position of the next snapshot. */
function holdSnapshot(): { arrive: (seq: number) => Promise<void>; fail: () => Promise<void> } {
  let resolve: (position: Position) => void;
  let reject: (error: Error) => void;
  fetchSnapshot.mockImplementationOnce(
    () =>
      new Promise((...callbacks) => {
        [resolve, reject] = callbacks;
      }),
  );
  return {
    arrive: async (seq) => {
      resolve(await snapshot(seq));
      await settle();
    },
    fail: async () => {
      reject(new Error('no network'));
      await settle();
    },
  };
}

/** Runs the callbacks of resolved promises, but no timers. */
function settle(): Promise<unknown> {
  return vi.advanceTimersByTimeAsync(0);
}

function latestSocket(): FakeSocket {
  return FakeSocket.all[FakeSocket.all.length - 1]!;
}

/** Starts the client at position 5, and answers its `hello` frame with a `welcome` frame. */
async function connect(): Promise<FakeSocket> {
  await connection.refresh();
  connection.start();
  latestSocket().open();
  latestSocket().welcome();
  return latestSocket();
}

function setVisibility(state: 'visible' | 'hidden'): void {
  vi.spyOn(document, 'visibilityState', 'get').mockReturnValue(state);
  document.dispatchEvent(new window.Event('visibilitychange'));
}

test('the client says hello with the position of the snapshot', async () => {
  const socket = await connect();
  expect(socket.url.pathname).toBe('/api/client/realtime');
  expect(socket.url.protocol).toBe('ws:');
  expect(socket.hellos).toEqual([{ op: 'hello', epoch: EPOCH, seq: 5, device_id: expect.any(String) }]);
  expect(statuses).toEqual(['online']);
});

test('all connections of a browser have the same device id', async () => {
  const first = await connect();
  first.end();
  await vi.advanceTimersByTimeAsync(600);
  latestSocket().open();
  expect(latestSocket()).not.toBe(first);
  expect(latestSocket().hellos[0]!.device_id).toBe(first.hellos[0]!.device_id);
});

test('events are applied once and in order, starting after the snapshot', async () => {
  const socket = await connect();
  socket.event(6, 'a');
  socket.event(7, 'b');
  socket.event(7, 'b');
  socket.event(4, 'old');
  expect(seen).toEqual(['snapshot 5', 'event a', 'event b']);
  expect(socket.hellos).toHaveLength(1);
});

test('after a gap in the numbers, the client asks for the lost events and applies nothing out of order', async () => {
  const socket = await connect();
  socket.event(8, 'c');
  expect(seen).toEqual(['snapshot 5']);
  expect(socket.hellos[1]).toMatchObject({ seq: 5 });
  socket.welcome();
  socket.event(6, 'a');
  socket.event(7, 'b');
  socket.event(8, 'c');
  expect(seen).toEqual(['snapshot 5', 'event a', 'event b', 'event c']);
});

test('the client asks for lost events once, and then waits for the answer', async () => {
  const socket = await connect();
  socket.event(8, 'c');
  socket.event(9, 'd');
  socket.ping(9);
  expect(socket.hellos).toHaveLength(2);
  socket.welcome();
  socket.ping(9);
  expect(socket.hellos).toHaveLength(3);
});

test('a ping with a higher number means that events were lost', async () => {
  const socket = await connect();
  socket.ping(5);
  expect(socket.sent.slice(1)).toEqual([{ op: 'pong' }]);
  socket.ping(6);
  expect(socket.hellos[1]).toMatchObject({ epoch: EPOCH, seq: 5 });
});

test('an event without a number is applied and does not change the position', async () => {
  const socket = await connect();
  socket.event(null, 'card');
  socket.event(6, 'a');
  expect(seen).toEqual(['snapshot 5', 'event card', 'event a']);
});

test('after a lost socket the client resumes after the last applied event', async () => {
  const first = await connect();
  first.event(6, 'a');
  first.end();
  await vi.advanceTimersByTimeAsync(600);
  latestSocket().open();
  expect(latestSocket().hellos[0]).toMatchObject({ epoch: EPOCH, seq: 6 });
  latestSocket().welcome();
  latestSocket().event(7, 'b');
  expect(seen).toEqual(['snapshot 5', 'event a', 'event b']);
  expect(fetchSnapshot).toHaveBeenCalledTimes(1);
});

test('a frame that arrives late from a lost socket is ignored', async () => {
  const first = await connect();
  const handleMessage = first.onmessage;
  window.dispatchEvent(new window.Event('offline'));
  expect(first.isClosed).toBe(true);
  expect(first.onmessage).toBeNull();
  expect(handleMessage).not.toBeNull();
  first.event(6, 'a');
  expect(seen).toEqual(['snapshot 5']);
});

test('when the server cannot resume, the snapshot comes before every event', async () => {
  await connection.refresh();
  connection.start();
  const held = holdSnapshot();
  latestSocket().open();
  latestSocket().welcome(false);
  await settle();
  latestSocket().event(8, 'contained');
  latestSocket().event(9, 'next');
  expect(seen).toEqual(['snapshot 5']);
  expect(statuses).toEqual([]);
  await held.arrive(8);
  expect(seen).toEqual(['snapshot 5', 'snapshot 8', 'event next']);
  expect(statuses).toEqual(['online']);
});

test('a snapshot that fails after a welcome ends the connection, and the next connection fetches it again', async () => {
  await connection.refresh();
  connection.start();
  const held = holdSnapshot();
  const first = latestSocket();
  first.open();
  first.welcome(false);
  await settle();
  await held.fail();
  expect(first.isClosed).toBe(true);
  first.end();
  await vi.advanceTimersByTimeAsync(600);
  latestSocket().open();
  latestSocket().welcome(false);
  await settle();
  expect(seen).toEqual(['snapshot 5', 'snapshot 5']);
  expect(statuses).toEqual(['online']);
});

test('a late snapshot does not overwrite a newer event', async () => {
  const socket = await connect();
  const held = holdSnapshot();
  const refreshed = connection.refresh();
  await settle();
  socket.event(6, 'newer');
  expect(seen).toEqual(['snapshot 5']);
  await held.arrive(5);
  await refreshed;
  expect(seen).toEqual(['snapshot 5', 'snapshot 5', 'event newer']);
});

test('an event that the snapshot contains is not applied after the snapshot', async () => {
  const socket = await connect();
  const held = holdSnapshot();
  const refreshed = connection.refresh();
  await settle();
  socket.event(6, 'contained');
  await held.arrive(6);
  await refreshed;
  expect(seen).toEqual(['snapshot 5', 'snapshot 6']);
});

test('a ping during a refresh does not make the client ask for events', async () => {
  const socket = await connect();
  const held = holdSnapshot();
  void connection.refresh();
  await settle();
  socket.ping(9);
  expect(socket.hellos).toHaveLength(1);
  await held.arrive(9);
  expect(seen).toEqual(['snapshot 5', 'snapshot 9']);
});

test('after a failed snapshot, the client says hello again with its old position', async () => {
  const socket = await connect();
  const held = holdSnapshot();
  const refreshed = expect(connection.refresh()).rejects.toThrow('no network');
  await settle();
  socket.event(6, 'a');
  await held.fail();
  await refreshed;
  expect(socket.hellos[1]).toMatchObject({ seq: 5 });
  socket.welcome();
  socket.event(6, 'a');
  expect(seen).toEqual(['snapshot 5', 'event a']);
});

test('a refresh starts after the previous refresh has ended, even if the previous refresh failed', async () => {
  await connect();
  const first = holdSnapshot();
  const failing = expect(connection.refresh()).rejects.toThrow('no network');
  const second = connection.refresh();
  await settle();
  expect(fetchSnapshot).toHaveBeenCalledTimes(2);
  await first.fail();
  await failing;
  await second;
  expect(fetchSnapshot).toHaveBeenCalledTimes(3);
});

test('a long silence ends the connection, and each frame restarts the timer', async () => {
  const socket = await connect();
  await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
  socket.ping(5);
  await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
  expect(socket.isClosed).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(socket.isClosed).toBe(true);
  await vi.advanceTimersByTimeAsync(600);
  expect(FakeSocket.all).toHaveLength(2);
});

test('the client gives up an attempt to connect after 10 s', async () => {
  connection.start();
  await vi.advanceTimersByTimeAsync(9_999);
  expect(latestSocket().isClosed).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(latestSocket().isClosed).toBe(true);
  await vi.advanceTimersByTimeAsync(600);
  expect(FakeSocket.all).toHaveLength(2);
});

test('the state is offline after the second failure, not after the first', async () => {
  (await connect()).end();
  expect(statuses).toEqual(['online']);
  await vi.advanceTimersByTimeAsync(600);
  latestSocket().end();
  expect(statuses).toEqual(['online', 'offline']);
  await vi.advanceTimersByTimeAsync(1_200);
  latestSocket().open();
  latestSocket().welcome();
  expect(statuses).toEqual(['online', 'offline', 'online']);
});

test('the state is offline after the first failure if the browser knows that there is no network', async () => {
  const socket = await connect();
  vi.spyOn(navigator, 'onLine', 'get').mockReturnValue(false);
  socket.end();
  expect(statuses).toEqual(['online', 'offline']);
});

test('the wait before a reconnect doubles up to 15 s, and a welcome resets it', async () => {
  connection.start();
  for (const wait of [600, 1_200, 2_400, 4_800, 9_600, 15_000, 15_000]) {
    const before = FakeSocket.all.length;
    latestSocket().end();
    await vi.advanceTimersByTimeAsync(wait - 1);
    expect(FakeSocket.all).toHaveLength(before);
    await vi.advanceTimersByTimeAsync(1);
    expect(FakeSocket.all).toHaveLength(before + 1);
  }
  latestSocket().open();
  latestSocket().welcome();
  latestSocket().end();
  const before = FakeSocket.all.length;
  await vi.advanceTimersByTimeAsync(600);
  expect(FakeSocket.all).toHaveLength(before + 1);
});

test('clients reconnect at different times after a restart of the server', async () => {
  vi.mocked(Math.random).mockReturnValue(0);
  (await connect()).end();
  await vi.advanceTimersByTimeAsync(149);
  expect(FakeSocket.all).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(FakeSocket.all).toHaveLength(2);
});

test('a socket that was closed because the client was slow is not a failure', async () => {
  (await connect()).end(4409);
  await vi.advanceTimersByTimeAsync(300);
  expect(FakeSocket.all).toHaveLength(2);
  latestSocket().end();
  expect(statuses).toEqual(['online']);
});

test('a client that was closed because the person has too many sockets comes back slowly', async () => {
  (await connect()).end(4429);
  await vi.advanceTimersByTimeAsync(14_999);
  expect(FakeSocket.all).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(FakeSocket.all).toHaveLength(2);
});

test('the client reconnects immediately when the network returns', async () => {
  await connect();
  window.dispatchEvent(new window.Event('offline'));
  expect(statuses).toEqual(['online', 'offline']);
  window.dispatchEvent(new window.Event('online'));
  expect(FakeSocket.all).toHaveLength(2);
  latestSocket().open();
  // The timer of the wait before this reconnect must not replace the new socket.
  await vi.advanceTimersByTimeAsync(600);
  expect(FakeSocket.all).toHaveLength(2);
});

test('the return of the network does not close an open socket', async () => {
  await connect();
  window.dispatchEvent(new window.Event('online'));
  expect(FakeSocket.all).toHaveLength(1);
});

test('a page that comes to the foreground replaces a socket that was silent for too long', async () => {
  const socket = await connect();
  setVisibility('hidden');
  // In a background tab, the timers stop and the clock continues.
  vi.setSystemTime(Date.now() + SILENCE_MS + 1);
  expect(socket.isClosed).toBe(false);
  setVisibility('visible');
  expect(socket.isClosed).toBe(true);
  expect(FakeSocket.all).toHaveLength(2);
});

test('a page that comes to the foreground keeps a socket that works', async () => {
  const socket = await connect();
  setVisibility('hidden');
  vi.setSystemTime(Date.now() + SILENCE_MS - 1);
  setVisibility('visible');
  expect(socket.isClosed).toBe(false);
  expect(FakeSocket.all).toHaveLength(1);
});

test('a client that the server has signed out reports it and does not reconnect', async () => {
  (await connect()).end(4401);
  expect(onSignedOut).toHaveBeenCalledTimes(1);
  window.dispatchEvent(new window.Event('online'));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(FakeSocket.all).toHaveLength(1);
});

test('a client that was stopped does not reconnect', async () => {
  const socket = await connect();
  connection.stop();
  expect(socket.isClosed).toBe(true);
  window.dispatchEvent(new window.Event('online'));
  setVisibility('visible');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(FakeSocket.all).toHaveLength(1);
});

test('the client sends a typing signal at most every 2 s, and only while it is connected', async () => {
  connection.sendTyping('session');
  const socket = await connect();
  const signal = { op: 'signal', type: 'typing', session_id: 'session' };
  connection.sendTyping('session');
  await vi.advanceTimersByTimeAsync(1_999);
  connection.sendTyping('session');
  expect(socket.sent.slice(1)).toEqual([signal]);
  await vi.advanceTimersByTimeAsync(1);
  connection.sendTyping('session');
  expect(socket.sent.slice(1)).toEqual([signal, signal]);
});

test('a typing signal of the other side reaches the store', async () => {
  const socket = await connect();
  socket.receive({ op: 'signal', type: 'typing', session_id: 'session' });
  expect(onTyping).toHaveBeenCalledWith('session');
});

const MESSAGE = { client_message_id: 'a1', text: 'halo' };
const STORED = { ...MESSAGE, id: 'm1', session_id: 's1', sender: 'customer', sent_at: '', read_at: null };

test('a message goes over the open socket, and the answer is the stored message', async () => {
  const socket = await connect();
  const sending = connection.sendMessage('s1', MESSAGE);
  expect(socket.sent.at(-1)).toEqual({ op: 'send', session_id: 's1', ...MESSAGE });
  socket.receive({ op: 'sent', client_message_id: 'another', message: {} });
  socket.receive({ op: 'sent', client_message_id: 'a1', message: STORED });
  expect(await sending).toEqual(STORED);
});

test('a message that the server refuses has no answer, so that a POST gets the reason', async () => {
  const socket = await connect();
  const sending = connection.sendMessage('s1', MESSAGE);
  socket.receive({ op: 'refused', client_message_id: 'a1', code: 'session_ended', detail: '' });
  expect(await sending).toBeUndefined();
});

test('a message without an open socket has no answer immediately', async () => {
  expect(await connection.sendMessage('s1', MESSAGE)).toBeUndefined();
});

test('a message has no answer when its socket ends', async () => {
  const socket = await connect();
  const sending = connection.sendMessage('s1', MESSAGE);
  socket.end();
  expect(await sending).toBeUndefined();
});

test('a message on a socket that the server has not welcomed has no answer immediately', async () => {
  await connect();
  latestSocket().end();
  await vi.advanceTimersByTimeAsync(15_000);
  expect(await connection.sendMessage('s1', MESSAGE)).toBeUndefined();
  latestSocket().open();
  expect(await connection.sendMessage('s1', MESSAGE)).toBeUndefined();
});

test('a silent socket is replaced when a message has no answer after 4 s', async () => {
  const silent = await connect();
  const sending = connection.sendMessage('s1', MESSAGE);
  await vi.advanceTimersByTimeAsync(4_000);
  expect(await sending).toBeUndefined();
  expect(silent.isClosed).toBe(true);
});

test('a socket that gets other frames stays when a message has no answer after 4 s', async () => {
  const socket = await connect();
  const sending = connection.sendMessage('s1', MESSAGE);
  await vi.advanceTimersByTimeAsync(2_000);
  socket.ping(5);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await sending).toBeUndefined();
  expect(socket.isClosed).toBe(false);
});

test('a message has no answer after 4 s without one', async () => {
  await connect();
  const answered = vi.fn();
  void connection.sendMessage('s1', MESSAGE).then(answered);
  await vi.advanceTimersByTimeAsync(3_999);
  expect(answered).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(answered).toHaveBeenCalledWith(undefined);
});
