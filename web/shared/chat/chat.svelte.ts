/**
 * One chat: what was said, and what is still on its way.
 *
 * What a person sends is kept on the device, under an id of ours, until the server has it: it appears at once,
 * survives a reload and a lost network, and is never doubled, however often it is sent.
 */
import { codeOf, Refused, type Schemas } from '../api/client';
import { findLast, lastOf, randomId } from '../baseline';
import { serverNow } from '../time/clock.svelte';

export type Message = Schemas['Message'];
export type ReadMark = import('../realtime/frames').Schemas['ReadMark'];
export type Side = Message['sender'];

/** The operations of one side, on its own paths. */
export interface ChatApi {
  side: Side;
  page: (sessionId: string, before?: string) => Promise<{ items: Message[]; next_cursor: string | null }>;
  send: (sessionId: string, message: { client_message_id: string; text: string }) => Promise<Message>;
  read: (sessionId: string, upToMessageId: string) => Promise<unknown>;
}

/** A message that the server does not have yet, or has refused (`failed`). */
export interface Unsent {
  client_message_id: string;
  text: string;
  written_at: string;
  failed: boolean;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** A typing signal comes every 2 s; without a new one, the other side has stopped. */
const TYPING_SHOWN_MS = 3_500;
export const LONGEST_TEXT = 4_000;

export class Chat {
  readonly sessionId: string;
  /** Oldest first. */
  messages = $state.raw<Message[]>([]);
  unsent = $state.raw<Unsent[]>([]);
  isLoaded = $state(false);
  isLoadingEarlier = $state(false);
  hasEarlier = $state(false);
  otherIsTyping = $state(false);

  readonly #api: ChatApi;
  /** How far each side has read: a mark may come before the messages it is about. */
  readonly #marks = new Map<Side, ReadMark>();
  #cursor: string | null = null;
  /** The last question for the newest messages, and the one that waits behind it and has not been asked yet. */
  #loading: Promise<unknown> = Promise.resolve();
  #nextLoad: Promise<void> | undefined;
  #isSending = false;
  #isReading = false;
  #pause = FIRST_PAUSE_MS;
  readonly #wakes = new Set<() => void>();
  #typing: ReturnType<typeof setTimeout> | undefined;

  constructor(sessionId: string, api: ChatApi) {
    this.sessionId = sessionId;
    this.#api = api;
    this.unsent = readOutbox(api.side, sessionId);
    void this.#sendAll();
  }

  get side(): Side {
    return this.#api.side;
  }

  /**
   * Fetch the newest messages: at the beginning, and after something may have been missed. Throws `Refused`.
   *
   * It asks anew, even while an answer is on its way: that one may be older than what was missed.
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

  /** Fetch the newest messages of a chat that runs, however often it takes. */
  async begin(): Promise<void> {
    while (!this.isLoaded) {
      try {
        await this.load();
      } catch (error) {
        if (isRefusal(error)) return;
        await this.#wait(error instanceof Refused ? error.retryAfterSeconds : null);
      }
    }
  }

  async #loadNewest(): Promise<void> {
    const known = this.isLoaded ? lastOf(this.messages) : undefined;
    const page = await this.#api.page(this.sessionId);
    const newest = [...page.items].reverse();
    const [oldest] = newest;
    if (known === undefined || (oldest !== undefined && known.id < oldest.id)) {
      // What is between these and the ones before them is not known here. What came meanwhile is newer, and stays.
      this.#cursor = page.next_cursor;
      this.hasEarlier = page.next_cursor !== null;
      if (oldest !== undefined) this.messages = this.messages.filter((message) => message.id >= oldest.id);
    }
    this.#take(newest);
    this.isLoaded = true;
  }

  /** Fetch the page before the oldest message that is shown. */
  async loadEarlier(): Promise<void> {
    if (this.isLoadingEarlier || this.#cursor === null) return;
    this.isLoadingEarlier = true;
    try {
      const page = await this.#api.page(this.sessionId, this.#cursor);
      this.#cursor = page.next_cursor;
      this.hasEarlier = page.next_cursor !== null;
      this.#take(page.items);
    } catch {
      // It stays at the top of the list, to be asked for again.
    } finally {
      this.isLoadingEarlier = false;
    }
  }

  /** Messages that were kept on the device, to be shown until the server's are there. */
  restore(messages: Message[]): void {
    this.#take(messages);
  }

  /** Send a text: it is in the chat at once. */
  send(text: string): void {
    this.#keep([
      ...this.unsent,
      {
        client_message_id: randomId(),
        text,
        written_at: new Date(serverNow()).toISOString(),
        failed: false,
      },
    ]);
    void this.#sendAll();
  }

  /** The network is back: try at once. */
  hurry(): void {
    this.#pause = FIRST_PAUSE_MS;
    for (const wake of this.#wakes) wake();
    void this.#sendAll();
  }

  /** Forget a message that could not be sent. */
  discard(unsent: Unsent): void {
    this.#keep(this.unsent.filter((one) => one.client_message_id !== unsent.client_message_id));
  }

  /** `message.created` */
  created(message: Message): void {
    if (message.session_id !== this.sessionId) return;
    if (message.sender !== this.side) this.#stopTyping();
    this.#take([message]);
  }

  /** `messages.read` */
  read(mark: ReadMark): void {
    if (mark.session_id !== this.sessionId) return;
    this.#marks.set(mark.reader, mark);
    this.messages = this.messages.map((message) => this.#marked(message));
  }

  /** The other side types. */
  typed(): void {
    this.otherIsTyping = true;
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#stopTyping(), TYPING_SHOWN_MS);
  }

  /** The person sees the end of the chat: tell the other side. */
  async seen(): Promise<void> {
    const last = findLast(this.messages, (message) => message.sender !== this.side);
    if (last === undefined || last.read_at !== null || this.#isReading) return;
    this.#isReading = true;
    try {
      await this.#api.read(this.sessionId, last.id);
      // The event tells the other devices; here it is known already.
      const reader = this.side;
      const read_at = new Date(serverNow()).toISOString();
      this.read({ session_id: this.sessionId, reader, up_to_message_id: last.id, read_at });
    } catch {
      // The next message, or the next look, tries again.
      return;
    } finally {
      this.#isReading = false;
    }
    void this.seen();
  }

  #stopTyping(): void {
    clearTimeout(this.#typing);
    this.otherIsTyping = false;
  }

  #marked(message: Message): Message {
    const mark = this.#marks.get(message.sender === 'customer' ? 'mitra' : 'customer');
    return mark !== undefined && message.read_at === null && message.id <= mark.up_to_message_id
      ? { ...message, read_at: mark.read_at }
      : message;
  }

  #take(messages: Message[]): void {
    const all = new Map(this.messages.map((message) => [message.id, message]));
    for (const message of messages) {
      const known = all.get(message.id);
      all.set(message.id, known?.read_at ? { ...message, read_at: known.read_at } : this.#marked(message));
    }
    // Their ids grow in the order in which they were sent.
    this.messages = [...all.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
    const arrived = new Set(
      messages.filter((message) => message.sender === this.side).map((message) => message.client_message_id),
    );
    if (this.unsent.some((one) => arrived.has(one.client_message_id)))
      this.#keep(this.unsent.filter((one) => !arrived.has(one.client_message_id)));
  }

  #keep(unsent: Unsent[]): void {
    this.unsent = unsent;
    const key = outboxOf(this.side) + this.sessionId;
    if (unsent.length === 0) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(unsent));
  }

  /** One after the other, so that they arrive in the order in which they were written. */
  async #sendAll(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      for (;;) {
        const next = this.unsent.find((one) => !one.failed);
        if (next === undefined) return;
        const { client_message_id, text } = next;
        try {
          this.#take([await this.#api.send(this.sessionId, { client_message_id, text })]);
          this.#pause = FIRST_PAUSE_MS;
        } catch (error) {
          if (codeOf(error) === 'unauthenticated') return;
          if (isRefusal(error)) this.#fail(client_message_id);
          else await this.#wait(error instanceof Refused ? error.retryAfterSeconds : null);
        }
      }
    } finally {
      this.#isSending = false;
    }
  }

  #fail(id: string): void {
    this.#keep(this.unsent.map((one) => (one.client_message_id === id ? { ...one, failed: true } : one)));
  }

  async #wait(seconds: number | null): Promise<void> {
    const pause = seconds === null ? this.#pause : seconds * 1000;
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE_MS);
    await new Promise<void>((resume) => {
      const wake = () => {
        this.#wakes.delete(wake);
        resume();
      };
      this.#wakes.add(wake);
      setTimeout(wake, pause);
    });
  }
}

/** Where one side's messages wait: somebody may be customer and mitra in one browser. */
function outboxOf(side: Side): string {
  return `curhat:${side}:outbox:`;
}

function readOutbox(side: Side, sessionId: string): Unsent[] {
  try {
    return JSON.parse(localStorage.getItem(outboxOf(side) + sessionId) ?? '[]') as Unsent[];
  } catch {
    return [];
  }
}

/** Whether the server has decided: to send the same again would change nothing. */
function isRefusal(error: unknown): boolean {
  return error instanceof Refused && error.status >= 400 && error.status < 500 && error.status !== 429;
}
