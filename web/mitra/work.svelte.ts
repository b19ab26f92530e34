/**
 * Where the mitra's work stands: the toggle, the cards, the chats. The server owns it: a snapshot (`/state`), and the
 * events after it. Screens are functions of what is here, so that a reload, a lost network and a second phone show the
 * same.
 *
 * Cards are level-triggered: each welcome and each snapshot brings the set that is open now, and what is missing in it
 * has closed.
 */
import { api, codeOf, command, onSignedOut, Refused, signedOut, type Schemas } from '../shared/api/client';
import { randomId } from '../shared/baseline';
import { Chat, type ChatApi, type Message } from '../shared/chat/chat.svelte';
import { Connection, type Event, type Position, type Status } from '../shared/realtime/connection';
import type { MitraEvents } from '../shared/realtime/frames';
import { retryUntilDone } from '../shared/retry';
import { note, quiet, ring } from './alarm.svelte';

type Request = Schemas['Request'];
export type Session = Schemas['MitraSession'];
type Extension = Schemas['Extension'];
type Presence = Schemas['MitraPresence'];
type Profile = Schemas['MitraProfile'];

/** `unknown`: it closed while this phone could not hear why. */
type CloseReason = NonNullable<Request['close_reason']> | 'unknown';
export type Answer = 'accept' | 'reject';
/** Why an answer is not given yet: the card stays, to be pressed again. */
export type Problem = 'unreachable' | 'offline' | 'other';

/** A request as this phone shows it. */
export interface RequestCard {
  request: Request;
  /** Why it closed; it is shown for a few seconds more. */
  closed: CloseReason | null;
  /** Accept was pressed here, and somebody or something was faster. */
  cameTooLate: boolean;
  answering: Answer | null;
  problem: Problem | null;
}

/** A request for more time, until its outcome has been read. */
export interface ExtensionCard {
  extension: Extension;
  callName: string;
  cameTooLate: boolean;
  answering: Answer | null;
  problem: Problem | null;
}

/** A session that ended before our eyes, with what was said in it. */
interface Over {
  session: Session;
  chat: Chat | undefined;
}

/** `unreachable`: nothing is known yet and no answer comes. What `ready` shows may be older while `offline`. */
type Phase = 'loading' | 'unreachable' | 'suspended' | 'ready';

/** `unknown`: being found out. `cut off`: switched on, and nobody can reach this phone. */
type Reach = 'off' | 'unknown' | 'cut off' | 'full' | 'reachable';

const KEPT = 'curhat:mitra:kept';
const KEPT_MESSAGES = 60;
/** The server pings a mitra every 3 s. */
const SILENCE_MS = 9_000;
/** How long a card that closed says why; longer for somebody who wanted it. */
const CLOSED_SHOWN_MS = 5_000;
const LOST_SHOWN_MS = 8_000;
const OUTCOME_SHOWN_MS = 7_000;
/** A connection made so soon after the page came to the front replaces one that was lost behind it. */
const BACK_MS = 15_000;
/** Nothing goes back from a later stage to an earlier one. */
const STAGES: Record<Session['status'] | Extension['status'], number> = {
  active: 0,
  pending: 0,
  charging: 1,
  ended: 2,
  approved: 2,
  rejected: 2,
  charge_failed: 2,
};

/** What this page keeps over a reload, for when there is no network then. Cards are too short-lived for that. */
interface Kept {
  profile: Profile;
  presence: Presence;
  chats: { session: Session; messages: Message[] }[];
}

const chatApi: ChatApi = {
  side: 'mitra',
  page: (session_id, before) =>
    api.get('/api/mitra/sessions/{session_id}/messages', {
      path: { session_id },
      query: before === undefined ? {} : { before },
    }),
  send: (session_id, body) =>
    api.post('/api/mitra/sessions/{session_id}/messages', { path: { session_id }, body }),
  read: (session_id, up_to_message_id) =>
    api.post('/api/mitra/sessions/{session_id}/read', { path: { session_id }, body: { up_to_message_id } }),
};

class Work {
  phase = $state<Phase>('loading');
  connection = $state<Status>('connecting');
  profile = $state.raw<Profile>();
  presence = $state.raw<Presence>();
  /** Oldest first, as they came. */
  requests = $state.raw<readonly RequestCard[]>([]);
  extensions = $state.raw<readonly ExtensionCard[]>([]);
  /** The chats that run, oldest first. */
  sessions = $state.raw<readonly Session[]>([]);
  chats = $state.raw<ReadonlyMap<string, Chat>>(new Map());
  /** Ended before our eyes. */
  over = $state.raw<ReadonlyMap<string, Over>>(new Map());
  /** What is shown was the server's word since this page was opened, and not only what the page kept. */
  isCurrent = $state(false);
  /** The connection was lost while another app was in front. */
  wasAway = $state(false);

  /** The chat that is on the screen: its messages make no sound. */
  shownChatId: string | null = null;

  readonly #reached = new Map<string, number>();
  /** The key of an answer that may have arrived, for when it is given again. */
  readonly #keys = new Map<string, string>();
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #wasWelcomed = false;
  #hiddenAt: number | null = null;
  #backAt = -Infinity;
  readonly #socket = new Connection<MitraEvents>({
    path: '/api/mitra/realtime',
    silenceMs: SILENCE_MS,
    refetch: () => this.#fetchState(),
    apply: (event) => this.#apply(event),
    typing: (sessionId) => this.chats.get(sessionId)?.typed(),
    welcomed: (welcome) => this.#welcomed(welcome.requests as Request[]),
    status: (status) => {
      this.connection = status;
      if (status === 'online') for (const chat of this.chats.values()) chat.hurry();
    },
    // Signed out, or suspended: the answer to a question tells which.
    signedOut: () => void this.start(),
  });

  constructor() {
    onSignedOut(() => this.#forget());
    // What was written and answered since the last event.
    addEventListener('pagehide', () => this.#keep());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'hidden') this.#hiddenAt = Date.now();
      else {
        if (this.#hiddenAt !== null) this.#backAt = Date.now();
        this.#hiddenAt = null;
      }
    });
  }

  /** Whether customers can reach this phone. */
  get reach(): Reach {
    if (this.presence?.online !== true) return 'off';
    if (this.connection === 'offline') return 'cut off';
    if (this.connection === 'connecting' || !this.presence.connected) return 'unknown';
    return this.sessions.length >= this.presence.max_customers ? 'full' : 'reachable';
  }

  /** How many wait for an answer. */
  get waiting(): number {
    return (
      this.requests.filter((card) => card.closed === null).length +
      this.extensions.filter((card) => card.extension.status === 'pending').length
    );
  }

  /** Messages of the customer that the mitra has not seen. */
  unread(sessionId: string): number {
    const messages = this.chats.get(sessionId)?.messages ?? [];
    return messages.filter((message) => message.sender === 'customer' && message.read_at === null).length;
  }

  /** Find out where the work stands; call it when somebody is signed in. */
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
          this.#forget();
          this.phase = 'suspended';
          return false;
        }
        this.connection = 'offline';
        if (this.phase !== 'ready') this.phase = 'unreachable';
        return true;
      },
    );
  }

  /** Sign out here. Throws `Refused` when the server could not be told. */
  async signOut(): Promise<void> {
    await api.post('/api/mitra/auth/logout');
    signedOut();
  }

  /** Move the toggle. Throws `Refused`. */
  async setOnline(online: boolean): Promise<void> {
    const before = this.presence;
    const answer = await api.put('/api/mitra/presence', { body: { online } });
    // An event that came meanwhile knows better whether this phone is connected: the answer may be from before.
    const { connected } = this.presence === before ? answer : (this.presence ?? answer);
    this.presence = { ...answer, connected };
    this.wasAway = false;
    this.#keep();
  }

  /** Take this customer. Gives the session's id if it is ours; otherwise the card says what happened. */
  async accept(request: Request): Promise<string | null> {
    const path = { request_id: request.id };
    const answer = await this.#answerRequest(request, 'accept', (headers) =>
      api.post('/api/mitra/requests/{request_id}/accept', { path, headers }),
    );
    if (answer === null) return null;
    this.takeSession(answer.session);
    return answer.session.id;
  }

  /** Leave this customer to others. */
  async reject(request: Request): Promise<void> {
    const path = { request_id: request.id };
    await this.#answerRequest(request, 'reject', async (headers) => {
      await api.post('/api/mitra/requests/{request_id}/reject', { path, headers });
      return true;
    });
  }

  /** Approve or reject more time. What comes of it, the card says. */
  async decide(extension: Extension, answer: Answer): Promise<void> {
    const { id } = extension;
    const key = `${answer} ${id}`;
    this.#changeExtension(id, { answering: answer, problem: null });
    const path = { extension_id: id };
    try {
      const decided = await this.#command(key, (headers) =>
        answer === 'accept'
          ? api.post('/api/mitra/extensions/{extension_id}/accept', { path, headers })
          : api.post('/api/mitra/extensions/{extension_id}/reject', { path, headers }),
      );
      this.#takeExtension(decided);
    } catch (error) {
      // Its event says how it was decided.
      if (codeOf(error) === 'extension_decided') this.#changeExtension(id, { cameTooLate: true });
      else this.#changeExtension(id, { problem: problemOf(error) });
    } finally {
      this.#changeExtension(id, { answering: null });
    }
  }

  /** What a command answered about a session. */
  takeSession(session: Session): void {
    if (STAGES[session.status] >= (this.#reached.get(session.id) ?? 0)) this.#showSession(session);
    this.#keep();
  }

  /** The mitra types in this chat. */
  typed(sessionId: string): void {
    this.#socket.typed(sessionId);
  }

  /** A chat of the history, to be read. */
  openChat(sessionId: string): Chat {
    return this.over.get(sessionId)?.chat ?? new Chat(sessionId, chatApi);
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
      const data = await this.#command(`${answer} ${id}`, run);
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

  /** Run a command under a key that is kept for as long as nobody knows whether it arrived. */
  async #command<Data>(
    name: string,
    run: (headers: { 'Idempotency-Key': string }) => Promise<Data>,
  ): Promise<Data> {
    const key = this.#keys.get(name) ?? randomId();
    this.#keys.set(name, key);
    try {
      const data = await command(run, key);
      this.#keys.delete(name);
      return data;
    } catch (error) {
      // A refusal is an answer, and would be given again under this key, whatever has changed since.
      if (error instanceof Refused && error.status >= 400 && error.status < 500) this.#keys.delete(name);
      throw error;
    }
  }

  /** The set that is open now. */
  #showRequests(open: readonly Request[]): void {
    const ids = new Set(open.map((request) => request.id));
    for (const { request, closed } of this.requests)
      if (closed === null && !ids.has(request.id)) this.#closeRequest(request, 'unknown', false);
    for (const request of open) this.#offer(request);
  }

  #offer(request: Request): void {
    const known = this.requests.find((card) => card.request.id === request.id);
    if (known?.closed === null) {
      this.#changeRequest(request.id, { request });
      return;
    }
    this.#stopTimer(request.id);
    const card = { request, closed: null, cameTooLate: false, answering: null, problem: null };
    this.requests = [...this.requests.filter((one) => one !== known), card];
    ring();
  }

  #closeRequest(request: Request, reason: CloseReason, cameTooLate: boolean): void {
    const card = this.requests.find((one) => one.request.id === request.id);
    if (card === undefined) return;
    // What was pressed here needs no word: the chat opens, the card goes.
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
    this.#afterwards(request.id, cameTooLate ? LOST_SHOWN_MS : CLOSED_SHOWN_MS, () =>
      this.#dropRequest(request.id),
    );
    this.#quietIfDone();
  }

  #changeRequest(id: string, change: Partial<RequestCard>): void {
    this.requests = this.requests.map((card) => (card.request.id === id ? { ...card, ...change } : card));
  }

  #dropRequest(id: string): void {
    this.#stopTimer(id);
    this.requests = this.requests.filter((card) => card.request.id !== id);
    this.#quietIfDone();
  }

  #takeExtension(extension: Extension): void {
    if (STAGES[extension.status] >= (this.#reached.get(extension.id) ?? 0)) this.#showExtension(extension);
  }

  #showExtension(extension: Extension): void {
    const { id, status } = extension;
    const before = this.#reached.get(id);
    this.#reached.set(id, STAGES[status]);
    const known = this.extensions.find((card) => card.extension.id === id);
    // The command's answer and the event say the same: an outcome is shown once.
    if (before === STAGES[status] && known === undefined) return;
    if (known !== undefined) this.#changeExtension(id, { extension });
    else {
      const callName = this.#callNameOf(extension.session_id);
      const card = { extension, callName, cameTooLate: false, answering: null, problem: null };
      this.extensions = [...this.extensions, card];
      if (status === 'pending') ring();
    }
    if (STAGES[status] === 2 && before !== 2)
      this.#afterwards(id, OUTCOME_SHOWN_MS, () => this.#dropExtension(id));
    this.#quietIfDone();
  }

  #callNameOf(sessionId: string): string {
    const running = this.sessions.find((session) => session.id === sessionId);
    return (running ?? this.over.get(sessionId)?.session)?.customer.call_name ?? '';
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

  #quietIfDone(): void {
    if (this.waiting === 0) quiet();
  }

  #afterwards(id: string, milliseconds: number, run: () => void): void {
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
    // How they ended is not in the snapshot, nor what was said while we were away.
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
      // Decided while we were away.
      const decided = [...state.sessions, ...ended].find(({ id }) => id === extension.session_id)?.extension;
      if (decided?.id === extension.id) this.#showExtension(decided);
      else this.#dropExtension(extension.id);
    }
    for (const extension of state.extensions) this.#showExtension(extension);
    this.isCurrent = true;
    this.#keep();
    return state.stream;
  }

  async #fetchProfile(): Promise<void> {
    this.profile = await api.get('/api/mitra/me');
  }

  #welcomed(open: Request[]): void {
    const isBehind = this.#hiddenAt !== null || Date.now() - this.#backAt < BACK_MS;
    if (this.#wasWelcomed && isBehind && this.presence?.online === true) this.wasAway = true;
    this.#wasWelcomed = true;
    this.#showRequests(open);
  }

  #apply(event: { [Type in keyof MitraEvents]: Event<Type, MitraEvents[Type]> }[keyof MitraEvents]): void {
    switch (event.type) {
      case 'presence.changed':
        this.presence = event.data;
        break;
      case 'request.offered':
        this.#offer(event.data);
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
        this.#takeExtension(event.data);
        break;
      case 'message.created':
        this.chats.get(event.data.session_id)?.created(event.data);
        if (event.data.sender === 'customer' && this.shownChatId !== event.data.session_id) note();
        break;
      case 'messages.read':
        this.chats.get(event.data.session_id)?.read(event.data);
    }
    this.#keep();
  }

  #showSession(session: Session): void {
    const { id } = session;
    if (STAGES[session.status] < (this.#reached.get(id) ?? 0)) return;
    const wasRunning = this.sessions.some((one) => one.id === id);
    this.#reached.set(id, STAGES[session.status]);
    if (session.status === 'ended') {
      if (!wasRunning) return;
      this.over = new Map(this.over).set(id, { session, chat: this.chats.get(id) });
      this.sessions = this.sessions.filter((one) => one.id !== id);
      this.chats = new Map([...this.chats].filter(([one]) => one !== id));
      return;
    }
    if (wasRunning) {
      this.sessions = this.sessions.map((one) => (one.id === id ? session : one));
      return;
    }
    this.sessions = [...this.sessions, session].sort((one, other) => (one.id < other.id ? -1 : 1));
    const chat = new Chat(id, chatApi);
    this.chats = new Map(this.chats).set(id, chat);
    void chat.begin();
  }

  #keep(): void {
    if (this.profile === undefined || this.presence === undefined) return;
    const kept: Kept = {
      profile: this.profile,
      presence: this.presence,
      chats: this.sessions.map((session) => ({
        session,
        messages: this.chats.get(session.id)?.messages.slice(-KEPT_MESSAGES) ?? [],
      })),
    };
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  }

  #restore(): void {
    const text = sessionStorage.getItem(KEPT);
    if (text === null || this.phase === 'ready') return;
    const kept = JSON.parse(text) as Kept;
    this.profile = kept.profile;
    this.presence = kept.presence;
    this.sessions = kept.chats.map(({ session }) => session);
    this.chats = new Map(
      kept.chats.map(({ session, messages }) => {
        const chat = new Chat(session.id, chatApi);
        chat.restore(messages);
        return [session.id, chat];
      }),
    );
    this.phase = 'ready';
  }

  #forget(): void {
    this.#socket.stop();
    for (const id of [...this.#timers.keys()]) this.#stopTimer(id);
    quiet();
    sessionStorage.removeItem(KEPT);
    this.profile = this.presence = undefined;
    this.requests = this.extensions = this.sessions = [];
    this.chats = this.over = new Map();
    this.#reached.clear();
    this.#keys.clear();
    this.#wasWelcomed = this.wasAway = this.isCurrent = false;
    this.connection = 'connecting';
    this.phase = 'loading';
  }
}

export const work = new Work();

/** Why a refusal closes the card; null for what may be tried again. */
function closeReasonOf(error: unknown): CloseReason | null {
  switch (codeOf(error)) {
    case 'already_taken':
      return 'already_taken';
    case 'request_closed':
      // Not closed by anybody yet: its time is over.
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
