/**
 * The state of the mitra's work: the toggle, the cards, the chats. The server owns this state. The store holds a
 * snapshot (`/state`), and applies the events that follow the snapshot. Each screen depends only on this store, so the
 * screen is the same after a reload, without a network and on a second phone.
 *
 * Each snapshot and each `welcome` frame of a new connection contain all open requests. If a card's request is not
 * among these open requests, the request has closed.
 */
import { api, codeOf, command, onSignedOut, Refused, type Schemas } from '../shared/api/client';
import { randomId } from '../shared/baseline';
import { Chat, overSocket, type ChatApi, type Message } from '../shared/chat/chat.svelte';
import { Connection, type Event, type Position, type Status } from '../shared/realtime/connection';
import type { MitraEvents } from '../shared/realtime/frames';
import { retryUntilDone } from '../shared/retry';
import { goTo } from '../shared/router.svelte';
import { deviceStorage, tabStorage } from '../shared/storage';
import { playNote, ring, stopRinging } from './alarm.svelte';
import type { News } from './hidden';

type Request = Schemas['Request'];
export type Session = Schemas['MitraSession'];
type Extension = Schemas['Extension'];
type Presence = Schemas['MitraPresence'];
type Profile = Schemas['MitraProfile'];

/** `unknown`: the request closed while this phone was disconnected, so the reason is not known. */
export type CloseReason = NonNullable<Request['close_reason']> | 'unknown';
export type Answer = 'accept' | 'reject';
/**
 * The reason why an answer did not reach the server. After a failure to send an answer, the card stays, and the mitra
 * can press again.
 */
export type Problem = 'unreachable' | 'offline' | 'other';

/** A request with the state of its card on this phone. */
export interface RequestCard {
  request: Request;
  /** Why the request closed. The closed card shows this reason for a few seconds. */
  closed: CloseReason | null;
  /** Whether the mitra pressed accept on this phone after the request had closed. */
  cameTooLate: boolean;
  answering: Answer | null;
  problem: Problem | null;
}

/** An extension. The screen shows the extension until the mitra has had time to read the outcome. */
export interface ExtensionCard {
  extension: Extension;
  callName: string;
  cameTooLate: boolean;
  answering: Answer | null;
  problem: Problem | null;
}

/** A session that ended while this page showed it, with the chat of the session. */
interface EndedSession {
  session: Session;
  chat: Chat | undefined;
}

/**
 * `unreachable`: the store is empty, and the server does not answer. While the connection is `offline`, a `ready` store
 * can be out of date.
 */
type Phase = 'loading' | 'unreachable' | 'suspended' | 'ready';

/** `unknown`: the phone is still connecting. `cut off`: the toggle is on, but requests cannot reach this phone. */
type Reach = 'off' | 'unknown' | 'cut off' | 'full' | 'reachable';

const KEPT_STATE_KEY = 'curhat:mitra:kept';
const MAX_KEPT_MESSAGES = 60;
/**
 * The server pings a mitra every 3 s. The client reconnects after 9 s without a frame. In 9 s, at least two pings are
 * due.
 */
const SILENCE_MS = 9_000;
/**
 * The time for which a closed card shows the reason. If the mitra pressed accept too late, the time is
 * CAME_TOO_LATE_SHOWN_MS.
 */
const CLOSED_SHOWN_MS = 5_000;
const CAME_TOO_LATE_SHOWN_MS = 8_000;
const OUTCOME_SHOWN_MS = 7_000;
/**
 * If the client connects within BACK_IN_FRONT_MS after the page came to the foreground, the store assumes that the last
 * connection was lost in the background.
 */
const BACK_IN_FRONT_MS = 15_000;
/**
 * The stage number of each state of a session and an extension. No session and no extension returns to an earlier
 * stage.
 */
const STAGES: Record<Session['status'] | Extension['status'], number> = {
  active: 0,
  pending: 0,
  charging: 1,
  ended: 2,
  approved: 2,
  rejected: 2,
  charge_failed: 2,
};

/**
 * The state that the page keeps over a reload, and can then show without a network. The kept state has no cards,
 * because a request closes after a short time.
 */
interface KeptState {
  profile: Profile;
  presence: Presence;
  chats: { session: Session; messages: Message[] }[];
}

const chatApi: ChatApi = {
  side: 'mitra',
  fetchPage: (session_id, before) =>
    api.get('/api/mitra/sessions/{session_id}/messages', {
      path: { session_id },
      query: before === undefined ? {} : { before },
    }),
  send: (session_id, body) =>
    api.post('/api/mitra/sessions/{session_id}/messages', { path: { session_id }, body }),
  markRead: (session_id, up_to_message_id) =>
    api.post('/api/mitra/sessions/{session_id}/read', { path: { session_id }, body: { up_to_message_id } }),
};

/**
 * Shows a notification if the page runs behind a locked screen or another app. The server sends no push to a page that
 * is still connected.
 */
export function tellHidden(news: News, id: string, sessionId?: string): void {
  if (document.visibilityState === 'hidden')
    void import('./hidden').then(({ notify }) => notify(news, id, sessionId)).catch(() => undefined);
}

class Work {
  phase = $state<Phase>('loading');
  connection = $state<Status>('connecting');
  profile = $state.raw<Profile>();
  presence = $state.raw<Presence>();
  /** Oldest first. */
  requests = $state.raw<readonly RequestCard[]>([]);
  extensions = $state.raw<readonly ExtensionCard[]>([]);
  /** The running sessions, oldest first. */
  sessions = $state.raw<readonly Session[]>([]);
  chats = $state.raw<ReadonlyMap<string, Chat>>(new Map());
  /** The ended sessions and their chats. Each key is the id of a session that ended while this page showed it. */
  endedSessions = $state.raw<ReadonlyMap<string, EndedSession>>(new Map());
  /**
   * Whether the server has answered since the page was opened. Before the first answer, the store has only the state
   * that the page kept.
   */
  isCurrent = $state(false);
  /** Whether the connection was lost while another app was in the foreground. */
  wasAway = $state(false);
  /** Grows when there is perhaps a new notice for the mitra (T.4). */
  noticeChanges = $state(0);

  /** The sessions whose chats are on the screen. Messages of the sessions on the screen make no sound. */
  readonly shownChatIds = new Set<string>();

  /** Maps the id of each session and extension to the latest known stage. */
  readonly #reachedStages = new Map<string, number>();
  /**
   * The idempotency keys of answers that have possibly reached the server. A repeated attempt to send an answer uses
   * the key of the earlier attempt.
   */
  readonly #idempotencyKeys = new Map<string, string>();
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #wasWelcomed = false;
  #hiddenAt: number | null = null;
  #backInFrontAt = -Infinity;
  readonly #socket = new Connection<MitraEvents>({
    path: '/api/mitra/realtime',
    silenceMs: SILENCE_MS,
    fetchSnapshot: () => this.#fetchState(),
    applyEvent: (event) => this.#applyEvent(event),
    onTyping: (sessionId) => this.chats.get(sessionId)?.showTyping(),
    onWelcome: (welcome) => this.#handleWelcome(welcome.requests as Request[]),
    onStatus: (status) => {
      this.connection = status;
      if (status === 'online') for (const chat of this.chats.values()) chat.retryNow();
    },
    // The mitra is signed out, or suspended. The answer to the next HTTP request tells whether the mitra is signed out
    // or suspended.
    onSignedOut: () => void this.start(),
  });
  readonly #chatApi = overSocket(chatApi, this.#socket);

  constructor() {
    onSignedOut(() => this.#reset());
    // The state in the storage is from the time of the latest event. The mitra has possibly written messages after the
    // latest event, so store the state again.
    addEventListener('pagehide', () => this.#keep());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'hidden') this.#hiddenAt = Date.now();
      else {
        if (this.#hiddenAt !== null) this.#backInFrontAt = Date.now();
        this.#hiddenAt = null;
      }
    });
  }

  /** Whether requests can reach this phone. */
  get reach(): Reach {
    if (this.presence?.online !== true) return 'off';
    if (this.connection === 'offline') return 'cut off';
    if (this.connection === 'connecting' || !this.presence.connected) return 'unknown';
    return this.sessions.length >= this.presence.max_customers ? 'full' : 'reachable';
  }

  /** The number of cards that wait for an answer. */
  get waitingCount(): number {
    return (
      this.requests.filter((card) => card.closed === null).length +
      this.extensions.filter((card) => card.extension.status === 'pending').length
    );
  }

  /**
   * Fetches the state, retries until the fetch succeeds, and then connects. Callers use `start` after the mitra has
   * signed in.
   */
  async start(): Promise<void> {
    this.#restore();
    await retryUntilDone(
      async () => {
        await Promise.all([this.#socket.refresh(), this.#fetchProfile()]);
        this.phase = 'ready';
        this.#keep();
        this.#socket.start();
      },
      (error) => {
        if (codeOf(error) === 'unauthenticated') return false;
        if (codeOf(error) === 'suspended') {
          this.#reset();
          this.phase = 'suspended';
          return false;
        }
        this.connection = 'offline';
        if (this.phase !== 'ready') this.phase = 'unreachable';
        return true;
      },
    );
  }

  /** Switches the mitra online or offline. Throws `Refused`. */
  async setOnline(online: boolean): Promise<void> {
    try {
      await this.changePresence(() => api.put('/api/mitra/presence', { body: { online } }));
    } catch (error) {
      if (codeOf(error) !== 'acceptance_needed') throw error;
      goTo('/consent');
    }
  }

  /** Applies the presence that the server returned for a command. Throws `Refused`. */
  async changePresence(change: () => Promise<Presence>): Promise<void> {
    const before = this.presence;
    const answer = await change();
    // If an event arrived before this answer, the event has the newer value of `connected`.
    const { connected } = this.presence === before ? answer : (this.presence ?? answer);
    this.presence = { ...answer, connected };
    this.wasAway = false;
    this.#keep();
  }

  /**
   * Accepts the request. Returns the session's id. Returns null if the accept did not win, and the card then shows the
   * reason.
   */
  async accept(request: Request): Promise<string | null> {
    const path = { request_id: request.id };
    const answer = await this.#answerRequest(request, 'accept', (headers) =>
      api.post('/api/mitra/requests/{request_id}/accept', { path, headers }),
    );
    if (answer === null) return null;
    this.applySession(answer.session);
    return answer.session.id;
  }

  /** Rejects the request. After a rejection, other mitras can still accept this customer. */
  async reject(request: Request): Promise<void> {
    const path = { request_id: request.id };
    await this.#answerRequest(request, 'reject', async (headers) => {
      await api.post('/api/mitra/requests/{request_id}/reject', { path, headers });
      return true;
    });
  }

  /** Approves or rejects an extension. The extension's card shows the outcome. */
  async decide(extension: Extension, answer: Answer): Promise<void> {
    const { id } = extension;
    const key = `${answer} ${id}`;
    this.#changeExtension(id, { answering: answer, problem: null });
    const path = { extension_id: id };
    try {
      const decided = await this.#runOnce(key, (headers) =>
        answer === 'accept'
          ? api.post('/api/mitra/extensions/{extension_id}/accept', { path, headers })
          : api.post('/api/mitra/extensions/{extension_id}/reject', { path, headers }),
      );
      this.#applyExtension(decided);
    } catch (error) {
      // An event will bring the decision about the extension.
      if (codeOf(error) === 'extension_decided') this.#changeExtension(id, { cameTooLate: true });
      else this.#changeExtension(id, { problem: problemOf(error) });
    } finally {
      this.#changeExtension(id, { answering: null });
    }
  }

  /** Applies the session that the server returned for a command. */
  applySession(session: Session): void {
    if (STAGES[session.status] >= (this.#reachedStages.get(session.id) ?? 0)) this.#showSession(session);
    this.#keep();
  }

  /** Tells the customer that the mitra is typing in this chat. */
  sendTyping(sessionId: string): void {
    this.#socket.sendTyping(sessionId);
  }

  /** Returns the chat of a past session. */
  openChat(sessionId: string): Chat {
    return this.endedSessions.get(sessionId)?.chat ?? new Chat(sessionId, this.#chatApi);
  }

  // Cards

  async #answerRequest<Data>(
    request: Request,
    answer: Answer,
    run: (headers: { 'Idempotency-Key': string }) => Promise<Data>,
  ): Promise<Data | null> {
    const { id } = request;
    this.#changeRequest(id, { answering: answer, problem: null });
    try {
      const data = await this.#runOnce(`${answer} ${id}`, run);
      this.#dropRequest(id);
      return data;
    } catch (error) {
      this.#changeRequest(id, { answering: null });
      const reason = closeReasonOf(error);
      if (reason !== null) this.#closeRequest(request, reason, answer === 'accept');
      else this.#changeRequest(id, { problem: problemOf(error) });
      return null;
    }
  }

  /**
   * Runs a command under an idempotency key. Keeps the key until the client knows whether the command reached the
   * server.
   */
  async #runOnce<Data>(
    name: string,
    run: (headers: { 'Idempotency-Key': string }) => Promise<Data>,
  ): Promise<Data> {
    const key = this.#idempotencyKeys.get(name) ?? randomId();
    this.#idempotencyKeys.set(name, key);
    try {
      const data = await command(run, key);
      this.#idempotencyKeys.delete(name);
      return data;
    } catch (error) {
      // Use a new key for the next attempt, because the server repeats a stored refusal for the old key.
      if (error instanceof Refused && error.status >= 400 && error.status < 500)
        this.#idempotencyKeys.delete(name);
      throw error;
    }
  }

  /** Shows the requests that are open now, and closes the cards of all other requests. */
  #showRequests(open: readonly Request[]): void {
    const ids = new Set(open.map((request) => request.id));
    for (const { request, closed } of this.requests)
      if (closed === null && !ids.has(request.id)) this.#closeRequest(request, 'unknown', false);
    for (const request of open) this.#showRequest(request);
  }

  #showRequest(request: Request): void {
    const known = this.requests.find((card) => card.request.id === request.id);
    if (known?.closed === null) {
      this.#changeRequest(request.id, { request });
      return;
    }
    this.#stopTimer(request.id);
    const card = { request, closed: null, cameTooLate: false, answering: null, problem: null };
    this.requests = [...this.requests.filter((one) => one !== known), card];
    ring();
    tellHidden('request', request.id);
  }

  #closeRequest(request: Request, reason: CloseReason, cameTooLate: boolean): void {
    const card = this.requests.find((one) => one.request.id === request.id);
    if (card === undefined) return;
    // If the mitra caused this outcome with a button on this phone, the mitra knows the reason. So the card disappears,
    // and shows no reason.
    const expected = { accepted: 'accept', rejected: 'reject' }[reason as 'accepted'] as Answer | undefined;
    if (expected !== undefined && card.answering === expected) {
      this.#dropRequest(request.id);
      return;
    }
    this.#changeRequest(request.id, {
      closed: reason,
      cameTooLate: card.cameTooLate || cameTooLate,
      answering: null,
      problem: null,
    });
    this.#runLater(request.id, cameTooLate ? CAME_TOO_LATE_SHOWN_MS : CLOSED_SHOWN_MS, () =>
      this.#dropRequest(request.id),
    );
    this.#stopRingingIfDone();
  }

  #changeRequest(id: string, change: Partial<RequestCard>): void {
    this.requests = this.requests.map((card) => (card.request.id === id ? { ...card, ...change } : card));
  }

  #dropRequest(id: string): void {
    this.#stopTimer(id);
    this.requests = this.requests.filter((card) => card.request.id !== id);
    this.#stopRingingIfDone();
  }

  #applyExtension(extension: Extension): void {
    if (STAGES[extension.status] >= (this.#reachedStages.get(extension.id) ?? 0))
      this.#showExtension(extension);
  }

  #showExtension(extension: Extension): void {
    const { id, status } = extension;
    const before = this.#reachedStages.get(id);
    this.#reachedStages.set(id, STAGES[status]);
    const known = this.extensions.find((card) => card.extension.id === id);
    // The outcome arrives twice: in the command's answer and in the event. The card shows the outcome only once.
    if (before === STAGES[status] && known === undefined) return;
    if (known !== undefined) this.#changeExtension(id, { extension });
    else {
      const callName = this.#callNameOf(extension.session_id);
      const card = { extension, callName, cameTooLate: false, answering: null, problem: null };
      this.extensions = [...this.extensions, card];
      if (status === 'pending') {
        ring();
        tellHidden('extension', id, extension.session_id);
      }
    }
    if (STAGES[status] === 2 && before !== 2)
      this.#runLater(id, OUTCOME_SHOWN_MS, () => this.#dropExtension(id));
    this.#stopRingingIfDone();
  }

  #callNameOf(sessionId: string): string {
    const running = this.sessions.find((session) => session.id === sessionId);
    return (running ?? this.endedSessions.get(sessionId)?.session)?.customer.call_name ?? '';
  }

  #changeExtension(id: string, change: Partial<ExtensionCard>): void {
    this.extensions = this.extensions.map((card) =>
      card.extension.id === id ? { ...card, ...change } : card,
    );
  }

  #dropExtension(id: string): void {
    this.#stopTimer(id);
    this.extensions = this.extensions.filter((card) => card.extension.id !== id);
  }

  #stopRingingIfDone(): void {
    if (this.waitingCount === 0) stopRinging();
  }

  #runLater(id: string, milliseconds: number, run: () => void): void {
    this.#stopTimer(id);
    this.#timers.set(id, setTimeout(run, milliseconds));
  }

  #stopTimer(id: string): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }

  // Snapshot and events

  async #fetchState(): Promise<Position> {
    const state = await api.get('/api/mitra/state');
    this.presence = state.presence;
    const running = new Set(state.sessions.map((session) => session.id));
    const gone = this.sessions.filter((session) => !running.has(session.id));
    for (const session of state.sessions) this.#showSession(session);
    // A snapshot does not tell how a session ended. The page has possibly missed messages while it was offline.
    const [ended] = await Promise.all([
      Promise.all(
        gone.map(({ id }) => api.get('/api/mitra/sessions/{session_id}', { path: { session_id: id } })),
      ),
      ...[...this.chats.values()].map((chat) => chat.load()),
    ]);
    for (const session of ended) this.#showSession(session);
    this.#showRequests(state.requests);
    const open = new Set(state.extensions.map((extension) => extension.id));
    for (const { extension } of this.extensions) {
      if (open.has(extension.id) || STAGES[extension.status] === 2) continue;
      // The extension was decided while this page was offline.
      const decided = [...state.sessions, ...ended].find(({ id }) => id === extension.session_id)?.extension;
      if (decided?.id === extension.id) this.#showExtension(decided);
      else this.#dropExtension(extension.id);
    }
    for (const extension of state.extensions) this.#showExtension(extension);
    this.isCurrent = true;
    this.noticeChanges += 1;
    this.#keep();
    return state.stream;
  }

  async #fetchProfile(): Promise<void> {
    this.profile = await api.get('/api/mitra/me');
  }

  #handleWelcome(open: Request[]): void {
    const isBehind = this.#hiddenAt !== null || Date.now() - this.#backInFrontAt < BACK_IN_FRONT_MS;
    if (this.#wasWelcomed && isBehind && this.presence?.online === true) this.wasAway = true;
    this.#wasWelcomed = true;
    this.#showRequests(open);
  }

  #applyEvent(
    event: { [Type in keyof MitraEvents]: Event<Type, MitraEvents[Type]> }[keyof MitraEvents],
  ): void {
    switch (event.type) {
      case 'presence.changed':
        this.presence = event.data;
        break;
      case 'request.offered':
        this.#showRequest(event.data);
        break;
      case 'request.closed':
        this.#closeRequest(event.data, event.data.close_reason ?? 'unknown', false);
        break;
      case 'session.started':
      case 'session.updated':
      case 'session.ended':
        this.#showSession(event.data);
        break;
      case 'extension.requested':
      case 'extension.decided':
        this.#applyExtension(event.data);
        break;
      case 'message.created':
        this.chats.get(event.data.session_id)?.addMessage(event.data);
        if (event.data.sender === 'customer' && !this.shownChatIds.has(event.data.session_id)) {
          playNote();
          tellHidden('message', event.data.session_id);
        }
        break;
      case 'messages.read':
        this.chats.get(event.data.session_id)?.applyReadMark(event.data);
        break;
      case 'notice.created':
        this.noticeChanges += 1;
    }
    this.#keep();
  }

  #showSession(session: Session): void {
    const { id } = session;
    if (STAGES[session.status] < (this.#reachedStages.get(id) ?? 0)) return;
    // The server does not know yet that the mitra has left this chat (shared/safety/left.ts). The first load has no
    // room for a function of its own.
    if (session.status === 'active' && deviceStorage.get(`curhat:mitra:left:${id}`)) {
      import('./sendLeaves').catch(() => undefined);
      return;
    }
    const wasRunning = this.sessions.some((one) => one.id === id);
    this.#reachedStages.set(id, STAGES[session.status]);
    if (session.status === 'ended') {
      if (!wasRunning) return;
      this.endedSessions = new Map(this.endedSessions).set(id, { session, chat: this.chats.get(id) });
      this.sessions = this.sessions.filter((one) => one.id !== id);
      this.chats = new Map([...this.chats].filter(([one]) => one !== id));
      return;
    }
    if (wasRunning) {
      this.sessions = this.sessions.map((one) => (one.id === id ? session : one));
      return;
    }
    this.sessions = [...this.sessions, session].sort((one, other) => (one.id < other.id ? -1 : 1));
    const chat = new Chat(id, this.#chatApi);
    this.chats = new Map(this.chats).set(id, chat);
    void chat.loadWithRetries();
  }

  /** Keeps the state for a reload without a network. */
  #keep(): void {
    if (this.profile === undefined || this.presence === undefined) return;
    const kept: KeptState = {
      profile: this.profile,
      presence: this.presence,
      chats: this.sessions.map((session) => ({
        session,
        messages: this.chats.get(session.id)?.messages.slice(-MAX_KEPT_MESSAGES) ?? [],
      })),
    };
    tabStorage.setJson(KEPT_STATE_KEY, kept);
  }

  #restore(): void {
    const kept = tabStorage.getJson(KEPT_STATE_KEY) as KeptState | undefined;
    if (kept === undefined || this.phase === 'ready') return;
    this.profile = kept.profile;
    this.presence = kept.presence;
    this.sessions = kept.chats.map(({ session }) => session);
    this.chats = new Map(
      kept.chats.map(({ session, messages }) => {
        const chat = new Chat(session.id, this.#chatApi);
        chat.restore(messages);
        return [session.id, chat];
      }),
    );
    this.phase = 'ready';
  }

  #reset(): void {
    this.#socket.stop();
    for (const id of [...this.#timers.keys()]) this.#stopTimer(id);
    stopRinging();
    tabStorage.remove(KEPT_STATE_KEY);
    this.profile = this.presence = undefined;
    this.requests = this.extensions = this.sessions = [];
    this.chats = this.endedSessions = new Map();
    this.#reachedStages.clear();
    this.#idempotencyKeys.clear();
    this.#wasWelcomed = this.wasAway = this.isCurrent = false;
    this.connection = 'connecting';
    this.phase = 'loading';
  }
}

export const work = new Work();

/** Returns whether the server offers a request again after the request closed for this reason. */
export function isOfferedAgain(reason: CloseReason | null | undefined): boolean {
  return reason === 'at_capacity' || reason === 'went_offline';
}

/** Returns the reason why a refusal closes the card, or null if the mitra can try again. */
function closeReasonOf(error: unknown): CloseReason | null {
  switch (codeOf(error)) {
    case 'already_taken':
      return 'already_taken';
    case 'request_closed':
      // If the refusal has no reason, the request is still open in the database, but its time is over.
      return ((error as Refused).problem.close_reason as CloseReason | null | undefined) ?? 'timed_out';
    case 'at_capacity':
      return 'at_capacity';
    case 'not_found':
      return 'unknown';
    default:
      return null;
  }
}

function problemOf(error: unknown): Problem {
  switch (codeOf(error)) {
    case 'mitra_offline':
      return 'offline';
    case 'unreachable':
      return 'unreachable';
    default:
      return 'other';
  }
}
