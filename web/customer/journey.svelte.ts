/**
 * Where the customer's journey stands. The server owns it: a snapshot (`/state`), and the events after it. Screens
 * are functions of what is here, so that a reload, a lost network and a second phone show the same.
 */
import { api, codeOf, onSignedOut, signedOut, type Schemas } from '../shared/api/client';
import { Chat, type ChatApi, type Message } from '../shared/chat/chat.svelte';
import { Connection, type Event, type Position, type Status } from '../shared/realtime/connection';
import type { CustomerEvents } from '../shared/realtime/frames';
import { retryUntilDone } from '../shared/retry';

export type Payment = Schemas['Payment'];
export type Pairing = Schemas['Pairing'];
export type Session = Schemas['Session'];
export type Extension = Schemas['Extension'];
type Profile = Schemas['CustomerProfile'];

/**
 * `unreachable`: nothing is known yet and no answer comes. What is shown in `ready` may be what this page knew
 * before, while the connection is `offline`.
 */
type Phase = 'loading' | 'unreachable' | 'ready';

const KEPT = 'curhat:customer:kept';
/** The server pings a customer every 15 s. */
const SILENCE_MS = 35_000;
/** A snapshot's payment: what `/state` would show of it. */
const SHOWN: ReadonlySet<Payment['status']> = new Set(['pending', 'confirming', 'confirmed', 'unserved']);
const KEPT_MESSAGES = 60;
/** Of a payment, a pairing and a session: nothing goes back from a later stage to an earlier one. */
const STAGES: Record<
  Payment['status'] | Pairing['status'] | Session['status'] | Extension['status'],
  number
> = {
  pending: 0,
  confirming: 0,
  open: 0,
  active: 0,
  charging: 1,
  approved: 2,
  rejected: 2,
  charge_failed: 2,
  confirmed: 1,
  matched: 1,
  failed: 1,
  ended: 1,
  expired: 2,
  abandoned: 2,
  served: 2,
  unserved: 2,
  refunded: 3,
};

/** What this page keeps over a reload, for when there is no network then. */
interface Kept {
  profile: Profile;
  payment: Payment | null;
  pairing: Pairing | null;
  session: Session | null;
  extension: Extension | null;
  over: Payment | null;
  messages: Message[];
}

const chatApi: ChatApi = {
  side: 'customer',
  page: (session_id, before) =>
    api.get('/api/client/sessions/{session_id}/messages', {
      path: { session_id },
      query: before === undefined ? {} : { before },
    }),
  send: (session_id, body) =>
    api.post('/api/client/sessions/{session_id}/messages', { path: { session_id }, body }),
  read: (session_id, up_to_message_id) =>
    api.post('/api/client/sessions/{session_id}/read', {
      path: { session_id },
      body: { up_to_message_id },
    }),
};

class Journey {
  phase = $state<Phase>('loading');
  connection = $state<Status>('connecting');
  profile = $state.raw<Profile>();
  payment = $state.raw<Payment | null>(null);
  pairing = $state.raw<Pairing | null>(null);
  session = $state.raw<Session | null>(null);
  /** More time, asked for and not decided, or being paid. */
  extension = $state.raw<Extension | null>(null);
  /** What became of the last request for more time, until the customer has seen it. */
  outcome = $state.raw<Extension | null>(null);
  /** A payment that came to its end before our eyes without a failed search: expired, or refunded. */
  over = $state.raw<Payment | null>(null);
  /** The session that has just ended before our eyes. */
  ended = $state.raw<Session | null>(null);
  chat = $state.raw<Chat | null>(null);

  /** How far each payment, pairing and session is known to have got. */
  readonly #reached = new Map<string, number>();
  readonly #socket = new Connection<CustomerEvents>({
    path: '/api/client/realtime',
    silenceMs: SILENCE_MS,
    refetch: () => this.#fetchState(),
    apply: (event) => this.#apply(event),
    typing: (sessionId) => {
      if (this.chat?.sessionId === sessionId) this.chat.typed();
    },
    status: (status) => {
      this.connection = status;
      if (status === 'online') this.chat?.hurry();
    },
    signedOut,
  });

  constructor() {
    onSignedOut(() => this.#forget());
    // What was written and answered since the last event.
    addEventListener('pagehide', () => this.#keep());
  }

  /** Find out where the customer stands; call it when somebody is signed in. */
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
        this.connection = 'offline';
        if (this.phase === 'loading') this.phase = 'unreachable';
        return true;
      },
    );
  }

  /** Sign out here. Throws `Refused` when the server could not be told. */
  async signOut(): Promise<void> {
    await api.post('/api/client/auth/logout');
    signedOut();
  }

  /** What a command answered. An event that says more may have come before it: then it changes nothing. */
  take(payment: Payment, pairing: Pairing | null = payment.pairing): void {
    if (this.#isNews(payment)) this.#showPayment(payment, pairing);
    this.#keep();
  }

  /** What a command answered about a pairing. */
  takePairing(pairing: Pairing): void {
    if (this.#isNews(pairing)) this.#showPairing(pairing);
    this.#keep();
  }

  /** What a command answered about a session. */
  takeSession(session: Session): void {
    if (this.#isNews(session)) this.#showSession(session);
    this.#keep();
  }

  /** What a command answered about more time. */
  takeExtension(extension: Extension): void {
    if (this.#isNews(extension)) this.#showExtension(extension);
    this.#keep();
  }

  takeProfile(profile: Profile): void {
    this.profile = profile;
    this.#keep();
  }

  /** Look at the snapshot, after a refusal that says that we know too little. Throws `Refused`. */
  refresh(): Promise<void> {
    return this.#socket.refresh();
  }

  /** The person has seen how a payment ended. */
  dismissOver(): void {
    this.over = null;
    this.#keep();
  }

  dismissOutcome(): void {
    this.outcome = null;
  }

  dismissEnded(): void {
    this.ended = null;
  }

  /** The person types in the running chat. */
  typed(): void {
    if (this.session) this.#socket.typed(this.session.id);
  }

  /** A chat of the history, to be read. */
  openChat(sessionId: string): Chat {
    return this.chat?.sessionId === sessionId ? this.chat : new Chat(sessionId, chatApi);
  }

  async #fetchState(): Promise<Position> {
    const state = await api.get('/api/client/state');
    this.#showPayment(state.payment, state.pairing);
    if (state.session !== null) this.#showSession(state.session);
    else if (this.session !== null) await this.#endedMeanwhile(this.session.id);
    const { extension: asked } = this;
    if (state.extension !== null) this.#showExtension(state.extension);
    else if (asked !== null) {
      // Decided while we were away.
      const decided = state.session?.extension;
      if (decided?.id === asked.id) this.#showExtension(decided);
      else this.extension = null;
    }
    // What was said while we were away; in a chat just begun, there is nothing to wait for.
    await this.chat?.load();
    this.#keep();
    return state.stream;
  }

  /** The running session that we showed is over; how it ended is not in the snapshot. */
  async #endedMeanwhile(session_id: string): Promise<void> {
    this.#showSession(await api.get('/api/client/sessions/{session_id}', { path: { session_id } }));
  }

  async #fetchProfile(): Promise<void> {
    this.profile = await api.get('/api/client/me');
  }

  #apply(
    event: { [Type in keyof CustomerEvents]: Event<Type, CustomerEvents[Type]> }[keyof CustomerEvents],
  ): void {
    switch (event.type) {
      case 'payment.updated':
        if (event.data.purpose === 'session') this.#showPayment(event.data, event.data.pairing);
        break;
      case 'pairing.updated':
        this.#showPairing(event.data);
        break;
      case 'session.started':
      case 'session.updated':
      case 'session.ended':
        this.#showSession(event.data);
        break;
      case 'extension.requested':
      case 'extension.decided':
        this.#showExtension(event.data);
        break;
      case 'message.created':
        this.chat?.created(event.data);
        break;
      case 'messages.read':
        this.chat?.read(event.data);
    }
    this.#keep();
  }

  #isNews(one: Payment | Pairing | Session | Extension): boolean {
    return STAGES[one.status] >= (this.#reached.get(one.id) ?? 0);
  }

  #showPayment(payment: Payment | null, pairing: Pairing | null): void {
    if (payment !== null) this.#reached.set(payment.id, STAGES[payment.status]);
    if (payment !== null && !SHOWN.has(payment.status)) {
      // What becomes of an older payment, a refund, changes nothing here.
      if (this.payment !== null && this.payment.id !== payment.id) return;
      if (this.payment !== null && (payment.status === 'expired' || payment.status === 'refunded'))
        this.over = payment;
      this.payment = this.pairing = null;
      return;
    }
    if (payment !== null && payment.id !== this.payment?.id) this.over = null;
    this.payment = payment;
    this.pairing = null;
    if (pairing !== null) this.#showPairing(pairing);
  }

  #showPairing(pairing: Pairing): void {
    this.#reached.set(pairing.id, STAGES[pairing.status]);
    if (this.payment?.id !== pairing.payment_id) return;
    // A payment may have two, one after the other: ids grow with time, and an answer about the first may be late.
    if (this.pairing === null || this.pairing.id <= pairing.id) this.pairing = pairing;
  }

  #showSession(session: Session): void {
    this.#reached.set(session.id, STAGES[session.status]);
    if (session.status === 'ended') {
      if (this.session?.id !== session.id) return;
      this.session = this.chat = this.extension = null;
      this.ended = session;
      return;
    }
    this.session = session;
    this.ended = null;
    if (this.chat?.sessionId === session.id) return;
    this.extension = this.outcome = null;
    this.chat = new Chat(session.id, chatApi);
    void this.chat.begin();
  }

  #showExtension(extension: Extension): void {
    const isDecided = STAGES[extension.status] === 2;
    // The command's answer and the event say the same: the outcome is shown once.
    const isKnown = this.#reached.get(extension.id) === STAGES[extension.status];
    this.#reached.set(extension.id, STAGES[extension.status]);
    if (isDecided) {
      this.extension = null;
      if (!isKnown) this.outcome = extension;
    } else {
      this.extension = extension;
      this.outcome = null;
    }
  }

  #keep(): void {
    if (this.profile === undefined) return;
    const kept: Kept = {
      profile: this.profile,
      payment: this.payment,
      pairing: this.pairing,
      session: this.session,
      extension: this.extension,
      over: this.over,
      messages: this.chat?.messages.slice(-KEPT_MESSAGES) ?? [],
    };
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  }

  #restore(): void {
    const text = sessionStorage.getItem(KEPT);
    if (text === null) return;
    const kept = JSON.parse(text) as Kept;
    this.profile = kept.profile;
    this.payment = kept.payment;
    this.pairing = kept.pairing;
    this.over = kept.over;
    this.extension = kept.extension;
    if (kept.session !== null) {
      this.session = kept.session;
      this.chat = new Chat(kept.session.id, chatApi);
      this.chat.restore(kept.messages);
    }
    this.phase = 'ready';
  }

  #forget(): void {
    this.#socket.stop();
    this.profile = undefined;
    this.extension = this.outcome = null;
    this.payment = this.pairing = this.session = this.over = this.ended = this.chat = null;
    this.connection = 'connecting';
    this.phase = 'loading';
  }
}

export const journey = new Journey();
