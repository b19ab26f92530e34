/**
 * One chat, with the messages that the server has and the messages that the server does not have yet.
 *
 * The device gives each new message an id, and stores the message until the server has it. A new message therefore
 * appears immediately, and survives a reload and a lost network. The server stores a message only once, even if the
 * device sends this message several times. Each message has a storage key of its own, so two tabs cannot overwrite each
 * other's messages. Each tab also sends the unsent messages of tabs that were closed.
 */
import { codeOf, isTemporary, Refused, type Code, type Schemas } from '../api/client';
import { findLast, lastOf, randomId } from '../baseline';
import { deviceStorage } from '../storage';
import { serverNow } from '../time/clock.svelte';

export type Message = Schemas['Message'];
export type ReadMark = import('../realtime/frames').Schemas['ReadMark'];
export type Side = Message['sender'];

/** The operations of one side (customer or mitra), under the HTTP paths of this side. */
export interface ChatApi {
  side: Side;
  fetchPage: (
    sessionId: string,
    before?: string,
  ) => Promise<{ items: Message[]; next_cursor: string | null }>;
  send: (sessionId: string, message: Schemas['NewMessage']) => Promise<Message>;
  markRead: (sessionId: string, upToMessageId: string) => Promise<unknown>;
}

/** Returns the operations with a `send` that uses the socket, and uses POST if the socket does not answer. */
export function overSocket(
  api: ChatApi,
  socket: { sendMessage: (...message: Parameters<ChatApi['send']>) => Promise<Message | undefined> },
): ChatApi {
  return {
    ...api,
    send: async (...message) => (await socket.sendMessage(...message)) ?? api.send(...message),
  };
}

/** A message that the server does not have yet. */
export interface UnsentMessage {
  client_message_id: string;
  text: string;
  written_at: string;
  /** The id of the message that this message answers. Missing if it answers none. */
  reply_to_message_id?: string;
  /** The code of the final refusal; null while the app tries to send the message. */
  refusal: Code | null;
}

const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;
/**
 * While the other side types, a signal arrives every 2 s. If no new signal arrives, the other side has stopped typing.
 */
const TYPING_SHOWN_MS = 3_500;
export const MAX_TEXT_CHARACTERS = 4_000;

export class Chat {
  readonly sessionId: string;
  /** Oldest first. */
  messages = $state.raw<Message[]>([]);
  unsent = $state.raw<UnsentMessage[]>([]);
  isLoaded = $state(false);
  isLoadingEarlier = $state(false);
  hasEarlier = $state(false);
  otherIsTyping = $state(false);
  /**
   * The time at which the next message is sent, or null. The value is set only if the person sends more than the server
   * allows.
   */
  heldUntil = $state<string | null>(null);

  readonly #api: ChatApi;
  /** The last message that each side has read. A read mark can arrive before its message. */
  readonly #readMarks = new Map<Side, ReadMark>();
  /** The cursor of the page with earlier messages; null if there are no earlier messages. */
  #cursor: string | null = null;
  /**
   * The running request for the newest messages. The next request for the newest messages starts after the answer to
   * the running request.
   */
  #loading: Promise<unknown> = Promise.resolve();
  #nextLoad: Promise<void> | undefined;
  #isSending = false;
  #isMarkingRead = false;
  #retryMs = MIN_RETRY_MS;
  /** For each wait before a retry, the set has a function that ends the wait. */
  readonly #endPauses = new Set<() => void>();
  #typingTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(sessionId: string, api: ChatApi) {
    this.sessionId = sessionId;
    this.#api = api;
    void this.#sendUnsent();
  }

  get side(): Side {
    return this.#api.side;
  }

  /**
   * Fetches the newest messages. Called at the beginning and when this page has possibly missed messages. Throws
   * `Refused`.
   *
   * If a request is already running, `load` sends a second request after the answer, because the answer to the first
   * request can lack the missed messages.
   */
  load(): Promise<void> {
    if (this.#nextLoad === undefined) {
      this.#nextLoad = this.#loading.then(() => {
        this.#nextLoad = undefined;
        return this.#loadNewest();
      });
      this.#loading = this.#nextLoad.catch(() => undefined);
    }
    return this.#nextLoad;
  }

  /** Fetches the newest messages, with retries until the fetch succeeds or the server refuses. */
  async loadWithRetries(): Promise<void> {
    while (!this.isLoaded) {
      try {
        await this.load();
      } catch (error) {
        if (!isTemporary(error)) return;
        await this.#pause(error);
      }
    }
  }

  async #loadNewest(): Promise<void> {
    const known = this.isLoaded ? lastOf(this.messages) : undefined;
    const page = await this.#api.fetchPage(this.sessionId);
    const newest = [...page.items].reverse();
    const [oldest] = newest;
    if (known === undefined || (oldest !== undefined && known.id < oldest.id)) {
      // It is possible that messages are missing between the fetched page and the older known messages. The chat
      // therefore drops the older messages, and fetches them again on demand.
      this.#cursor = page.next_cursor;
      this.hasEarlier = page.next_cursor !== null;
      if (oldest !== undefined) this.messages = this.messages.filter((message) => message.id >= oldest.id);
    }
    this.#merge(newest);
    this.isLoaded = true;
  }

  /** Fetches the page of messages before the oldest shown message. */
  async loadEarlier(): Promise<void> {
    if (this.isLoadingEarlier || this.#cursor === null) return;
    this.isLoadingEarlier = true;
    try {
      const page = await this.#api.fetchPage(this.sessionId, this.#cursor);
      this.#cursor = page.next_cursor;
      this.hasEarlier = page.next_cursor !== null;
      this.#merge(page.items);
    } catch {
      // The button to fetch earlier messages stays at the top of the list, so the person can try again.
    } finally {
      this.isLoadingEarlier = false;
    }
  }

  /** Shows messages that the app kept over a reload, until the messages of the server arrive. */
  restore(messages: Message[]): void {
    this.#merge(messages);
  }

  /** Shows a text in the chat immediately, and sends it. `reply` names the message that it answers. */
  send(text: string, reply?: { reply_to_message_id: string }): void {
    // Each message gets a later time than the previous message, so that the order survives a reload.
    const afterLast = Date.parse(lastOf(this.unsent)?.written_at ?? '1970') + 1;
    const message = {
      client_message_id: randomId(),
      text,
      ...reply,
      written_at: new Date(Math.max(serverNow(), afterLast)).toISOString(),
      refusal: null,
    };
    this.unsent = [...this.unsent, message];
    this.#store(message);
    void this.#sendUnsent();
  }

  /** Retries now instead of after a pause, because the network is back. */
  retryNow(): void {
    this.#retryMs = MIN_RETRY_MS;
    for (const endPause of this.#endPauses) endPause();
    void this.#sendUnsent();
  }

  /** Removes a message that the server has refused. */
  discard(unsent: UnsentMessage): void {
    this.#forget(new Set([unsent.client_message_id]));
  }

  /** Applies the event `message.created`. */
  addMessage(message: Message): void {
    if (message.session_id !== this.sessionId) return;
    if (message.sender !== this.side) this.#hideTyping();
    this.#merge([message]);
  }

  /** Applies the event `messages.read`. */
  applyReadMark(mark: ReadMark): void {
    if (mark.session_id !== this.sessionId) return;
    this.#readMarks.set(mark.reader, mark);
    this.messages = this.messages.map((message) => this.#withReadMark(message));
  }

  /** Shows for a moment that the other side is typing. */
  showTyping(): void {
    this.otherIsTyping = true;
    clearTimeout(this.#typingTimer);
    this.#typingTimer = setTimeout(() => this.#hideTyping(), TYPING_SHOWN_MS);
  }

  /** Tells the server that the person has seen the newest message of the other side. */
  async markRead(): Promise<void> {
    const last = findLast(this.messages, (message) => message.sender !== this.side);
    if (last === undefined || last.read_at !== null || this.#isMarkingRead) return;
    this.#isMarkingRead = true;
    try {
      await this.#api.markRead(this.sessionId, last.id);
      // An event brings the read mark to all devices of the person. Apply the read mark on this device without waiting
      // for the event.
      const reader = this.side;
      const read_at = new Date(serverNow()).toISOString();
      this.applyReadMark({ session_id: this.sessionId, reader, up_to_message_id: last.id, read_at });
    } catch {
      // The client sends the read mark again at the next message, or when the person looks at the chat again.
      return;
    } finally {
      this.#isMarkingRead = false;
    }
    // Send a read mark again, because a message of the other side possibly arrived during the request.
    void this.markRead();
  }

  #hideTyping(): void {
    clearTimeout(this.#typingTimer);
    this.otherIsTyping = false;
  }

  #withReadMark(message: Message): Message {
    const mark = this.#readMarks.get(message.sender === 'customer' ? 'mitra' : 'customer');
    return mark !== undefined && message.read_at === null && message.id <= mark.up_to_message_id
      ? { ...message, read_at: mark.read_at }
      : message;
  }

  /** Adds these messages to the chat, and removes them from the unsent messages. */
  #merge(messages: Message[]): void {
    const all = new Map(this.messages.map((message) => [message.id, message]));
    for (const message of messages) {
      const known = all.get(message.id);
      all.set(
        message.id,
        known?.read_at ? { ...message, read_at: known.read_at } : this.#withReadMark(message),
      );
    }
    // Sort by id, because ids increase in the order in which the server stored the messages.
    this.messages = [...all.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
    const arrived = new Set(
      messages.filter((message) => message.sender === this.side).map((message) => message.client_message_id),
    );
    this.#forget(arrived);
  }

  /** The prefix contains the side, because a customer and a mitra can use the same browser. */
  get #storagePrefix(): string {
    return `curhat:${this.side}:outbox:${this.sessionId}:`;
  }

  #store(message: UnsentMessage): void {
    deviceStorage.setJson(this.#storagePrefix + message.client_message_id, message);
  }

  /** Removes the unsent messages with these ids, including messages that another tab has stored. */
  #forget(ids: ReadonlySet<string>): void {
    if (this.unsent.some((one) => ids.has(one.client_message_id)))
      this.unsent = this.unsent.filter((one) => !ids.has(one.client_message_id));
    for (const key of deviceStorage.keys(this.#storagePrefix))
      if (ids.has(key.slice(this.#storagePrefix.length))) deviceStorage.remove(key);
  }

  /** Adds stored messages that this tab does not know yet, from the last visit or from another tab. */
  #adoptStored(): void {
    const known = new Set([...this.unsent, ...this.messages].map((one) => one.client_message_id));
    const found = deviceStorage
      .keys(this.#storagePrefix)
      .map((key) => deviceStorage.getJson(key) as UnsentMessage | undefined)
      .filter((one) => one !== undefined && !known.has(one.client_message_id)) as UnsentMessage[];
    if (found.length > 0)
      this.unsent = [...this.unsent, ...found].sort((one, other) =>
        one.written_at < other.written_at ? -1 : 1,
      );
  }

  /** Sends the unsent messages one after the other, in the order in which the person wrote them. */
  async #sendUnsent(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      for (;;) {
        this.#adoptStored();
        const next = this.unsent.find((one) => one.refusal === null);
        if (next === undefined) return;
        // eslint-disable-next-line @typescript-eslint/no-unused-vars -- Only this device needs these two fields.
        const { written_at, refusal, ...message } = next;
        try {
          this.#merge([await this.#api.send(this.sessionId, message)]);
          this.#retryMs = MIN_RETRY_MS;
        } catch (error) {
          if (codeOf(error) === 'unauthenticated') return;
          if (isTemporary(error)) await this.#holdBack(error);
          else this.#markRefused(next, codeOf(error));
        }
      }
    } finally {
      this.#isSending = false;
    }
  }

  /** Waits before the next try. If the person sends too fast, the screen shows the length of the wait. */
  async #holdBack(error: unknown): Promise<void> {
    const seconds = error instanceof Refused ? error.retryAfterSeconds : null;
    if (seconds !== null && codeOf(error) === 'too_many_requests')
      this.heldUntil = new Date(serverNow() + seconds * 1000).toISOString();
    try {
      await this.#pause(error);
    } finally {
      this.heldUntil = null;
    }
  }

  #markRefused(message: UnsentMessage, refusal: Code): void {
    const refused = { ...message, refusal };
    this.unsent = this.unsent.map((one) => (one === message ? refused : one));
    this.#store(refused);
  }

  /**
   * Waits before a retry. Waits for the time that the server named. If the server named no time, each wait is longer
   * than the previous wait.
   */
  async #pause(error: unknown): Promise<void> {
    const seconds = error instanceof Refused ? error.retryAfterSeconds : null;
    const milliseconds = seconds === null ? this.#retryMs : seconds * 1000;
    this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
    await new Promise<void>((resolve) => {
      const endPause = () => {
        this.#endPauses.delete(endPause);
        resolve();
      };
      this.#endPauses.add(endPause);
      setTimeout(endPause, milliseconds);
    });
  }
}
