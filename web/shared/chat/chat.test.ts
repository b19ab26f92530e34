import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Refused } from '../api/client';
import { Chat, overSocket, type ChatApi, type Message, type Side } from './chat.svelte';

const SESSION = 'session-1';

/** One request of the chat. The test answers it. */
interface Asked<Argument, Answer> {
  argument: Argument;
  answer: (answer: Answer) => Promise<void>;
  fail: (error: Error) => Promise<void>;
}

interface Page {
  items: Message[];
  next_cursor: string | null;
}

let pages: Asked<string | undefined, Page>[];
let sends: Asked<{ client_message_id: string; text: string }, Message>[];
let marks: Asked<string, unknown>[];
let chat: Chat;

beforeEach(() => {
  vi.useFakeTimers();
  localStorage.clear();
  pages = [];
  sends = [];
  marks = [];
  chat = openChat();
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function openChat(side: Side = 'customer', sessionId = SESSION): Chat {
  return new Chat(sessionId, apiOf(side));
}

function apiOf(side: Side): ChatApi {
  return {
    side,
    fetchPage: (_, before) => ask(pages, before),
    send: (_, message) => ask(sends, message),
    markRead: (_, upTo) => ask(marks, upTo),
  };
}

function ask<Argument, Answer>(asked: Asked<Argument, Answer>[], argument: Argument): Promise<Answer> {
  return new Promise((resolve, reject) => {
    asked.push({
      argument,
      answer: async (answer) => {
        resolve(answer);
        await settle();
      },
      fail: async (error) => {
        reject(error);
        await settle();
      },
    });
  });
}

/** Runs the callbacks of resolved promises, but no timers. */
function settle(): Promise<unknown> {
  return vi.advanceTimersByTimeAsync(0);
}

/** A message. `number` is the message's position in the chat. */
function message(number: number, fields: Partial<Message> = {}): Message {
  return {
    id: String(number).padStart(4, '0'),
    session_id: SESSION,
    sender: 'mitra',
    client_message_id: `client-${number}`,
    text: `message ${number}`,
    sent_at: '2026-11-24T13:05:00Z',
    read_at: null,
    reply_to_message_id: null,
    ...fields,
  };
}

/** A page of messages in the server's order, with the newest message first. */
function page(numbers: number[], next_cursor: string | null = null): Page {
  return { items: numbers.map((number) => message(number)), next_cursor };
}

/** The server's answer to the latest message that was sent. */
function stored(number: number): Message {
  const { client_message_id, text } = sends[sends.length - 1]!.argument;
  return message(number, { sender: 'customer', client_message_id, text });
}

function texts(): string[] {
  return chat.messages.map((one) => one.text);
}

const noAnswer = (): Refused => new Refused('unreachable', 0);

// Sending

test('a message appears immediately, and is sent once', async () => {
  chat.send('halo');
  expect(chat.unsent).toMatchObject([{ text: 'halo', refusal: null }]);
  expect(sends).toHaveLength(1);
  await sends[0]!.answer(stored(1));
  expect(texts()).toEqual(['halo']);
  expect(chat.unsent).toEqual([]);
  expect(localStorage).toHaveLength(0);
});

test('a reply names the message that it answers, and the next message answers nothing', async () => {
  chat.send('iya', { reply_to_message_id: '0001' });
  expect(sends[0]!.argument).toMatchObject({ text: 'iya', reply_to_message_id: '0001' });
  await sends[0]!.answer(stored(2));
  chat.send('lagi');
  expect(JSON.stringify(sends[1]!.argument)).not.toContain('reply_to_message_id');
});

test('a message that the server does not have survives a reload, and is sent under the same id', async () => {
  chat.send('halo');
  await sends[0]!.fail(noAnswer());
  const reloaded = openChat();
  expect(reloaded.unsent).toMatchObject([{ text: 'halo' }]);
  expect(sends).toHaveLength(2);
  expect(sends[1]!.argument).toEqual(sends[0]!.argument);
});

test('a message appears once when its event comes before the answer', async () => {
  chat.send('halo');
  chat.addMessage(stored(1));
  expect(texts()).toEqual(['halo']);
  expect(chat.unsent).toEqual([]);
  await sends[0]!.answer(stored(1));
  expect(texts()).toEqual(['halo']);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sends).toHaveLength(1);
});

test('a message that arrived is not sent again, even if its answer was lost', async () => {
  chat.send('halo');
  await sends[0]!.fail(noAnswer());
  chat.addMessage(stored(1));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sends).toHaveLength(1);
  expect(texts()).toEqual(['halo']);
});

test('a message of the other side with the same id is another message', () => {
  chat.send('halo');
  const { client_message_id } = sends[0]!.argument;
  chat.addMessage(message(1, { sender: 'mitra', client_message_id, text: 'hai' }));
  expect(chat.unsent).toMatchObject([{ text: 'halo' }]);
});

test('messages are sent one after the other, in the order in which they were written', async () => {
  chat.send('satu');
  chat.send('dua');
  expect(sends.map(({ argument }) => argument.text)).toEqual(['satu']);
  await sends[0]!.answer(stored(1));
  expect(sends.map(({ argument }) => argument.text)).toEqual(['satu', 'dua']);
  await sends[1]!.answer(stored(2));
  expect(texts()).toEqual(['satu', 'dua']);
});

test('without a network the pauses between the attempts double, up to 10 s', async () => {
  chat.send('halo');
  for (const [index, pause] of [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000].entries()) {
    await sends[index]!.fail(noAnswer());
    await vi.advanceTimersByTimeAsync(pause - 1);
    expect(sends).toHaveLength(index + 1);
    await vi.advanceTimersByTimeAsync(1);
    expect(sends).toHaveLength(index + 2);
  }
});

test('after a message was sent, the next pause is short again', async () => {
  chat.send('satu');
  chat.send('dua');
  await sends[0]!.fail(noAnswer());
  await vi.advanceTimersByTimeAsync(500);
  await sends[1]!.answer(stored(1));
  await sends[2]!.fail(noAnswer());
  await vi.advanceTimersByTimeAsync(500);
  expect(sends).toHaveLength(4);
});

test('the return of the network ends a pause once', async () => {
  chat.send('halo');
  await sends[0]!.fail(noAnswer());
  chat.retryNow();
  await settle();
  expect(sends).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sends).toHaveLength(2);
});

test('a chat that has nothing to send does nothing when the network returns', async () => {
  chat.retryNow();
  await settle();
  expect(sends).toHaveLength(0);
});

test('after a busy answer, the client waits for the time that the server names', async () => {
  chat.send('halo');
  await sends[0]!.fail(new Refused('too_many_requests', 429, {}, 7));
  expect(chat.heldUntil).not.toBeNull();
  expect(chat.unsent.map(({ text, refusal }) => [text, refusal])).toEqual([['halo', null]]);
  await vi.advanceTimersByTimeAsync(6_999);
  expect(sends).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(sends).toHaveLength(2);
  expect(sends[1]!.argument).toEqual(sends[0]!.argument);
  expect(chat.heldUntil).toBeNull();
});

test('a message that the server refuses is marked, and the next message is sent', async () => {
  chat.send('satu');
  chat.send('dua');
  await sends[0]!.fail(new Refused('session_ended', 409));
  expect(chat.unsent.map(({ text, refusal }) => [text, refusal])).toEqual([
    ['satu', 'session_ended'],
    ['dua', null],
  ]);
  expect(sends[1]!.argument.text).toBe('dua');
  await sends[1]!.answer(stored(1));
  expect(openChat().unsent).toMatchObject([{ text: 'satu', refusal: 'session_ended' }]);
  expect(sends).toHaveLength(2);
});

test('a message that failed can be discarded', async () => {
  chat.send('halo');
  await sends[0]!.fail(new Refused('session_ended', 409));
  chat.discard(chat.unsent[0]!);
  expect(chat.unsent).toEqual([]);
  expect(openChat().unsent).toEqual([]);
});

test('when the person is signed out, the message is kept and not sent again', async () => {
  chat.send('halo');
  await sends[0]!.fail(new Refused('unauthenticated', 401));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(chat.unsent).toMatchObject([{ text: 'halo', refusal: null }]);
  expect(sends).toHaveLength(1);
});

test('the return of the network sends a message that was kept while the person was signed out', async () => {
  chat.send('halo');
  await sends[0]!.fail(new Refused('unauthenticated', 401));
  chat.retryNow();
  await settle();
  expect(sends).toHaveLength(2);
});

test('unsent messages are separate per role and per session', () => {
  chat.send('halo');
  expect(openChat('mitra').unsent).toEqual([]);
  expect(openChat('customer', 'session-2').unsent).toEqual([]);
  expect(openChat().unsent).toHaveLength(1);
});

test('stored messages that cannot be read are ignored', () => {
  localStorage.setItem(`curhat:customer:outbox:${SESSION}:1`, '{');
  expect(openChat().unsent).toEqual([]);
});

test('a message of each of two tabs without a network survives, in the order of writing', async () => {
  const otherTab = openChat();
  chat.send('satu');
  vi.advanceTimersByTime(5);
  otherTab.send('dua');
  for (const one of sends) await one.fail(noAnswer());
  expect(openChat().unsent.map(({ text }) => text)).toEqual(['satu', 'dua']);
});

test('a tab sends the message of a tab that was closed, when the network is back', async () => {
  const closedTab = openChat();
  closedTab.send('dua');
  await sends[0]!.fail(noAnswer());
  expect(chat.unsent).toEqual([]);
  chat.retryNow();
  await settle();
  expect(sends[1]!.argument).toEqual(sends[0]!.argument);
  await sends[1]!.answer(stored(1));
  expect(openChat().unsent).toEqual([]);
});

test('a message that another tab has sent is not sent again after a reload', async () => {
  const otherTab = openChat();
  otherTab.send('halo');
  chat.addMessage(stored(1));
  expect(openChat().unsent).toEqual([]);
});

test.each([
  ['throws when it is written', { getItem: () => null, setItem: refuse, removeItem: () => undefined }],
  ['throws when it is read', { getItem: refuse, setItem: refuse, removeItem: refuse }],
  ['is absent', undefined],
])('a message is sent although localStorage %s', async (_, storage) => {
  vi.stubGlobal('localStorage', storage);
  const own = openChat();
  own.send('halo');
  expect(own.unsent).toMatchObject([{ text: 'halo' }]);
  await sends[0]!.answer(stored(1));
  expect(own.unsent).toEqual([]);
  expect(own.messages).toMatchObject([{ text: 'halo' }]);
});

function refuse(): never {
  throw new DOMException('', 'QuotaExceededError');
}

test('a message that a mistake of the app stops is not shown as being sent for ever', async () => {
  chat.send('halo');
  await sends[0]!.fail(new TypeError('AbortSignal.any is not a function'));
  expect(chat.unsent).toMatchObject([{ text: 'halo', refusal: 'failed' }]);
});

// Receiving

test('messages are shown in the order of their ids, each once', () => {
  chat.addMessage(message(2));
  chat.addMessage(message(1));
  chat.addMessage(message(2));
  expect(texts()).toEqual(['message 1', 'message 2']);
});

test('a message of another session is ignored', () => {
  chat.addMessage(message(1, { session_id: 'session-2' }));
  expect(chat.messages).toEqual([]);
});

test('a page that arrives late keeps a message that arrived before it', async () => {
  const loaded = chat.load();
  await settle();
  chat.addMessage(message(3));
  await pages[0]!.answer(page([2, 1]));
  await loaded;
  expect(texts()).toEqual(['message 1', 'message 2', 'message 3']);
});

test('after a reconnect, a page that does not reach the known messages replaces the known messages', async () => {
  void chat.load();
  await settle();
  await pages[0]!.answer(page([2, 1]));
  void chat.load();
  await settle();
  chat.addMessage(message(9));
  await pages[1]!.answer(page([8, 7], 'before 7'));
  expect(texts()).toEqual(['message 7', 'message 8', 'message 9']);
  expect(chat.hasEarlier).toBe(true);
  void chat.loadEarlier();
  expect(pages[2]!.argument).toBe('before 7');
});

test('after a reconnect, a page that reaches the known messages is added to the known messages', async () => {
  void chat.load();
  await settle();
  await pages[0]!.answer(page([2, 1], 'before 1'));
  void chat.load();
  await settle();
  await pages[1]!.answer(page([3, 2], 'before 2'));
  expect(texts()).toEqual(['message 1', 'message 2', 'message 3']);
  void chat.loadEarlier();
  expect(pages[2]!.argument).toBe('before 1');
});

test('messages that the app kept over a reload do not hide a gap', async () => {
  chat.restore([message(1), message(2)]);
  expect(texts()).toEqual(['message 1', 'message 2']);
  void chat.load();
  await settle();
  await pages[0]!.answer(page([8, 7], 'before 7'));
  expect(texts()).toEqual(['message 7', 'message 8']);
});

test('the cursor of the first page is used even if the app kept older messages over a reload', async () => {
  chat.restore([message(1), message(2)]);
  void chat.load();
  await settle();
  await pages[0]!.answer(page([3, 2], 'before 2'));
  expect(texts()).toEqual(['message 2', 'message 3']);
  expect(chat.hasEarlier).toBe(true);
});

test('several loads during a running request cause one new request', async () => {
  const first = chat.load();
  await settle();
  const second = chat.load();
  const third = chat.load();
  await settle();
  expect(pages).toHaveLength(1);
  await pages[0]!.answer(page([1]));
  await first;
  expect(pages).toHaveLength(2);
  await pages[1]!.answer(page([2, 1]));
  await Promise.all([second, third]);
  expect(texts()).toEqual(['message 1', 'message 2']);
  expect(pages).toHaveLength(2);
});

test('a load after a failed load sends a request', async () => {
  const failing = expect(chat.load()).rejects.toThrow(Refused);
  await settle();
  await pages[0]!.fail(noAnswer());
  await failing;
  void chat.load();
  await settle();
  expect(pages).toHaveLength(2);
});

test('loading is repeated until it succeeds', async () => {
  void chat.loadWithRetries();
  await settle();
  await pages[0]!.fail(noAnswer());
  expect(chat.isLoaded).toBe(false);
  await vi.advanceTimersByTimeAsync(500);
  await pages[1]!.answer(page([1]));
  expect(chat.isLoaded).toBe(true);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(pages).toHaveLength(2);
});

test('loading ends when the server refuses', async () => {
  const done = chat.loadWithRetries();
  await settle();
  await pages[0]!.fail(new Refused('not_found', 404));
  await done;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(pages).toHaveLength(1);
});

test('the earlier page comes before the known messages, and two calls fetch it once', async () => {
  void chat.load();
  await settle();
  await pages[0]!.answer(page([4, 3], 'before 3'));
  void chat.loadEarlier();
  void chat.loadEarlier();
  expect(pages).toHaveLength(2);
  expect(chat.isLoadingEarlier).toBe(true);
  await pages[1]!.answer(page([2, 1]));
  expect(texts()).toEqual(['message 1', 'message 2', 'message 3', 'message 4']);
  expect(chat.hasEarlier).toBe(false);
  expect(chat.isLoadingEarlier).toBe(false);
  void chat.loadEarlier();
  expect(pages).toHaveLength(2);
});

test('an earlier page that fails can be fetched again', async () => {
  void chat.load();
  await settle();
  await pages[0]!.answer(page([4, 3], 'before 3'));
  void chat.loadEarlier();
  await pages[1]!.fail(noAnswer());
  expect(chat.hasEarlier).toBe(true);
  void chat.loadEarlier();
  expect(pages[2]!.argument).toBe('before 3');
});

// Read marks

const READ_AT = '2026-11-24T13:06:00Z';

test('a read mark marks the messages of the other side up to its id', () => {
  const mine = { sender: 'customer' } as const;
  for (const one of [message(1, mine), message(2), message(3, mine)]) chat.addMessage(one);
  chat.applyReadMark({ session_id: SESSION, reader: 'mitra', up_to_message_id: '0002', read_at: READ_AT });
  expect(chat.messages.map((one) => one.read_at)).toEqual([READ_AT, null, null]);
});

test('a read mark that arrives before its message marks the message later', () => {
  chat.applyReadMark({ session_id: SESSION, reader: 'mitra', up_to_message_id: '0001', read_at: READ_AT });
  chat.addMessage(message(1, { sender: 'customer' }));
  expect(chat.messages[0]!.read_at).toBe(READ_AT);
});

test('a page that arrives late does not undo a read mark', async () => {
  void chat.load();
  await settle();
  chat.addMessage(message(1, { sender: 'customer' }));
  chat.applyReadMark({ session_id: SESSION, reader: 'mitra', up_to_message_id: '0001', read_at: READ_AT });
  await pages[0]!.answer({ items: [message(1, { sender: 'customer' })], next_cursor: null });
  expect(chat.messages[0]!.read_at).toBe(READ_AT);
});

test('a message that was read before does not become unread', () => {
  chat.addMessage(message(1, { sender: 'customer', read_at: READ_AT }));
  chat.addMessage(message(1, { sender: 'customer' }));
  expect(chat.messages[0]!.read_at).toBe(READ_AT);
});

test('a read mark of another session is ignored', () => {
  chat.addMessage(message(1, { sender: 'customer' }));
  chat.applyReadMark({ session_id: 'other', reader: 'mitra', up_to_message_id: '0001', read_at: READ_AT });
  expect(chat.messages[0]!.read_at).toBeNull();
});

test('the client sends one read mark for the newest message of the other side', async () => {
  chat.addMessage(message(1));
  chat.addMessage(message(2));
  chat.addMessage(message(3, { sender: 'customer' }));
  void chat.markRead();
  void chat.markRead();
  expect(marks.map(({ argument }) => argument)).toEqual(['0002']);
  await marks[0]!.answer(undefined);
  expect(chat.messages.map((one) => one.read_at !== null)).toEqual([true, true, false]);
  void chat.markRead();
  expect(marks).toHaveLength(1);
});

test('a message that arrives while a read mark is being sent gets the next read mark', async () => {
  chat.addMessage(message(1));
  void chat.markRead();
  chat.addMessage(message(2));
  await marks[0]!.answer(undefined);
  expect(marks.map(({ argument }) => argument)).toEqual(['0001', '0002']);
});

test('a read mark that fails leaves the message unread, and the next look sends the read mark again', async () => {
  chat.addMessage(message(1));
  void chat.markRead();
  await marks[0]!.fail(noAnswer());
  expect(chat.messages[0]!.read_at).toBeNull();
  expect(marks).toHaveLength(1);
  void chat.markRead();
  expect(marks).toHaveLength(2);
});

// Typing

test('the chat shows typing for 3.5 s after the last signal', () => {
  chat.showTyping();
  vi.advanceTimersByTime(2_000);
  chat.showTyping();
  vi.advanceTimersByTime(3_499);
  expect(chat.otherIsTyping).toBe(true);
  vi.advanceTimersByTime(1);
  expect(chat.otherIsTyping).toBe(false);
});

test('a message of the other side ends the typing, and our own message does not', () => {
  chat.showTyping();
  chat.addMessage(message(1, { sender: 'customer' }));
  expect(chat.otherIsTyping).toBe(true);
  chat.addMessage(message(2));
  expect(chat.otherIsTyping).toBe(false);
});

test('a message goes by POST only if the socket gives no answer', async () => {
  const sendMessage = vi.fn<() => Promise<Message | undefined>>(() => Promise.resolve(message(1)));
  const post = vi.fn(() => Promise.resolve(message(2)));
  const api = overSocket({ ...apiOf('customer'), send: post }, { sendMessage });
  const asked = { client_message_id: 'a1', text: 'halo' };
  expect((await api.send('s1', asked)).id).toBe(message(1).id);
  expect(post).not.toHaveBeenCalled();
  sendMessage.mockResolvedValueOnce(undefined);
  expect((await api.send('s1', asked)).id).toBe(message(2).id);
  expect(sendMessage).toHaveBeenCalledWith('s1', asked);
  expect(post).toHaveBeenCalledWith('s1', asked);
});
