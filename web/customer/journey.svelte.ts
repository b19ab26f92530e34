/**
 * The state of the customer's journey. The server owns this state. The store holds a snapshot (`/state`), and applies
 * the events that follow the snapshot. Each screen depends only on this store, so the screen is the same after a
 * reload, without a network and on a second phone.
 */
import { api, codeOf, onSignedOut, signedOut, type Schemas } from '../shared/api/client';
import { Chat, overSocket, type ChatApi, type Message } from '../shared/chat/chat.svelte';
import { Connection, type Event, type Position, type Status } from '../shared/realtime/connection';
import type { CustomerEvents } from '../shared/realtime/frames';
import { retryUntilDone } from '../shared/retry';
import { deviceStorage, tabStorage } from '../shared/storage';

export type Payment = Schemas['Payment'];
export type Pairing = Schemas['Pairing'];
export type Session = Schemas['Session'];
export type Extension = Schemas['Extension'];
type Profile = Schemas['CustomerProfile'];

/**
 * `unreachable`: the store is empty, and the server does not answer. While the connection is `offline`, a `ready` store
 * can hold the state that the page kept before a reload.
 */
type Phase = 'loading' | 'unreachable' | 'ready';

const KEPT_STATE_KEY = 'curhat:customer:kept';
/**
 * The server pings a customer every 15 s. The client reconnects after 35 s without a frame. In 35 s, at least two pings
 * are due.
 */
const SILENCE_MS = 35_000;
/**
 * A payment in one of the open states is part of the snapshot. A payment that is in none of the open states is over.
 */
const OPEN_STATUSES: ReadonlySet<Payment['status']> = new Set([
  'pending',
  'confirming',
  'confirmed',
  'unserved',
]);
const MAX_KEPT_MESSAGES = 60;
/**
 * The stage number of each state of a payment, a pairing, a session and an extension. No payment, pairing, session or
 * extension returns to an earlier stage.
 */
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

/** The state that the page keeps over a reload, and can then show without a network. */
interface KeptState {
  profile: Profile;
  payment: Payment | null;
  pairing: Pairing | null;
  session: Session | null;
  extension: Extension | null;
  closedPayment: Payment | null;
  messages: Message[];
}

const chatApi: ChatApi = {
  side: 'customer',
  fetchPage: (session_id, before) =>
    api.get('/api/client/sessions/{session_id}/messages', {
      path: { session_id },
      query: before === undefined ? {} : { before },
    }),
  send: (session_id, body) =>
    api.post('/api/client/sessions/{session_id}/messages', { path: { session_id }, body }),
  markRead: (session_id, up_to_message_id) =>
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
  /** The extension that still waits for a decision or for its payment. */
  extension = $state.raw<Extension | null>(null);
  /** The last decided extension, until the customer has seen the decision. */
  decidedExtension = $state.raw<Extension | null>(null);
  /** The payment that expired or was refunded while this page showed it. */
  closedPayment = $state.raw<Payment | null>(null);
  /** The session that ended while this page showed it. */
  endedSession = $state.raw<Session | null>(null);
  chat = $state.raw<Chat | null>(null);
  /** Grows when a payment of the customer has perhaps changed. Screens that show payments then read them again. */
  moneyChanges = $state(0);
  /** Grows when there is perhaps a new notice for the customer (T.4). */
  noticeChanges = $state(0);

  /** Maps the id of each payment, pairing, session and extension to the latest known stage. */
  readonly #reachedStages = new Map<string, number>();
  readonly #socket = new Connection<CustomerEvents>({
    path: '/api/client/realtime',
    silenceMs: SILENCE_MS,
    fetchSnapshot: () => this.#fetchState(),
    applyEvent: (event) => this.#applyEvent(event),
    onTyping: (sessionId) => {
      if (this.chat?.sessionId === sessionId) this.chat.showTyping();
    },
    onStatus: (status) => {
      this.connection = status;
      if (status === 'online') this.chat?.retryNow();
    },
    onSignedOut: signedOut,
  });
  readonly #chatApi = overSocket(chatApi, this.#socket);

  constructor() {
    onSignedOut(() => this.#reset());
    // The state in the storage is from the time of the latest event. The person has possibly written messages after the
    // latest event, so store the state again.
    addEventListener('pagehide', () => this.#keep());
  }

  /**
   * Fetches the state, retries until the fetch succeeds, and then connects. Callers use `start` after the customer has
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
        this.connection = 'offline';
        if (this.phase === 'loading') this.phase = 'unreachable';
        return true;
      },
    );
  }

  /** Signs out on this device. Throws `Refused` if the server does not confirm the sign-out. */
  async signOut(): Promise<void> {
    await api.post('/api/client/auth/logout');
    signedOut();
  }

  /** Applies a command's answer. Does nothing if an event has already brought a later stage than the answer. */
  applyPayment(payment: Payment, pairing: Pairing | null = payment.pairing): void {
    if (this.#isCurrent(payment)) this.#showPayment(payment, pairing);
    this.#keep();
  }

  /** Applies a command's answer about a pairing. */
  applyPairing(pairing: Pairing): void {
    if (this.#isCurrent(pairing)) this.#showPairing(pairing);
    this.#keep();
  }

  /** Applies a command's answer about a session. */
  applySession(session: Session): void {
    if (this.#isCurrent(session)) this.#showSession(session);
    this.#keep();
  }

  /** Applies a command's answer about an extension. */
  applyExtension(extension: Extension): void {
    if (this.#isCurrent(extension)) this.#showExtension(extension);
    this.#keep();
  }

  applyProfile(profile: Profile): void {
    this.profile = profile;
    this.#keep();
  }

  /**
   * Fetches the snapshot. Callers use `refresh` if a refusal shows that this store is out of date. Throws `Refused`.
   */
  refresh(): Promise<void> {
    return this.#socket.refresh();
  }

  /** Forgets the closed payment. Called when the person has seen how the payment ended. */
  dismissClosedPayment(): void {
    this.closedPayment = null;
    this.#keep();
  }

  dismissDecidedExtension(): void {
    this.decidedExtension = null;
  }

  dismissEndedSession(): void {
    this.endedSession = null;
  }

  /** Tells the mitra that the customer is typing in the running chat. */
  sendTyping(): void {
    if (this.session) this.#socket.sendTyping(this.session.id);
  }

  /** Returns the chat of a past session. */
  openChat(sessionId: string): Chat {
    return this.chat?.sessionId === sessionId ? this.chat : new Chat(sessionId, this.#chatApi);
  }

  async #fetchState(): Promise<Position> {
    const state = await api.get('/api/client/state');
    this.moneyChanges += 1;
    this.noticeChanges += 1;
    this.#showPayment(state.payment, state.pairing);
    if (state.session !== null) this.#showSession(state.session);
    else if (this.session !== null) await this.#fetchEndedSession(this.session.id);
    const { extension: asked } = this;
    if (state.extension !== null) this.#showExtension(state.extension);
    else if (asked !== null) {
      // The extension was decided while this page was offline.
      const decided = state.session?.extension;
      if (decided?.id === asked.id) this.#showExtension(decided);
      else this.extension = null;
    }
    // The page has possibly missed messages while it was offline.
    await this.chat?.load();
    this.#keep();
    return state.stream;
  }

  /** Fetches the session that has ended, because the snapshot does not say how the session ended. */
  async #fetchEndedSession(session_id: string): Promise<void> {
    this.#showSession(await api.get('/api/client/sessions/{session_id}', { path: { session_id } }));
  }

  async #fetchProfile(): Promise<void> {
    this.profile = await api.get('/api/client/me');
  }

  #applyEvent(
    event: { [Type in keyof CustomerEvents]: Event<Type, CustomerEvents[Type]> }[keyof CustomerEvents],
  ): void {
    switch (event.type) {
      case 'payment.updated':
        this.moneyChanges += 1;
        if (this.#isOfJourney(event.data)) this.#showPayment(event.data, event.data.pairing);
        break;
      case 'pairing.updated':
        this.#showPairing(event.data);
        break;
      case 'session.started':
      case 'session.updated':
      case 'session.ended':
        this.moneyChanges += event.type === 'session.ended' ? 1 : 0;
        this.#showSession(event.data);
        break;
      case 'extension.requested':
      case 'extension.decided':
        this.moneyChanges += 1;
        this.#showExtension(event.data);
        break;
      case 'message.created':
        this.chat?.addMessage(event.data);
        break;
      case 'messages.read':
        this.chat?.applyReadMark(event.data);
        break;
      case 'notice.created':
        this.noticeChanges += 1;
    }
    this.#keep();
  }

  /**
   * Returns whether an event about this payment is about the journey. An event about an older failed payment is about its
   * decision or its refund, and must not bring its failure back to the screen.
   */
  #isOfJourney(payment: Payment): boolean {
    return (
      payment.purpose === 'session' && (payment.status !== 'unserved' || payment.id === this.payment?.id)
    );
  }

  #isCurrent(one: Payment | Pairing | Session | Extension): boolean {
    return STAGES[one.status] >= (this.#reachedStages.get(one.id) ?? 0);
  }

  #showPayment(payment: Payment | null, pairing: Pairing | null): void {
    if (payment !== null) this.#reachedStages.set(payment.id, STAGES[payment.status]);
    if (payment !== null && !OPEN_STATUSES.has(payment.status)) {
      // A refund of an older payment does not change the current journey.
      if (this.payment !== null && this.payment.id !== payment.id) return;
      if (this.payment !== null && (payment.status === 'expired' || payment.status === 'refunded'))
        this.closedPayment = payment;
      this.payment = this.pairing = null;
      return;
    }
    if (payment !== null && payment.id !== this.payment?.id) this.closedPayment = null;
    this.payment = payment;
    this.pairing = null;
    if (pairing !== null) this.#showPairing(pairing);
  }

  #showPairing(pairing: Pairing): void {
    this.#reachedStages.set(pairing.id, STAGES[pairing.status]);
    if (this.payment?.id !== pairing.payment_id) return;
    // A payment can have two pairings: first a targeted pairing, then a fallback. An answer about the first pairing can
    // arrive late. The second pairing has the larger id.
    if (this.pairing === null || this.pairing.id <= pairing.id) this.pairing = pairing;
  }

  #showSession(session: Session): void {
    this.#reachedStages.set(session.id, STAGES[session.status]);
    if (session.status === 'ended') {
      if (this.endedSession?.id === session.id) this.endedSession = session;
      if (this.session?.id !== session.id) return;
      this.session = this.chat = this.extension = null;
      this.endedSession = session;
      return;
    }
    // The server does not know yet that the customer has left this chat (shared/safety/left.ts). The first load has no
    // room for a function of its own.
    if (deviceStorage.get(`curhat:customer:left:${session.id}`)) {
      import('./sendLeaves').catch(() => undefined);
      return;
    }
    this.session = session;
    this.endedSession = null;
    if (this.chat?.sessionId === session.id) return;
    this.extension = this.decidedExtension = null;
    this.chat = new Chat(session.id, this.#chatApi);
    void this.chat.loadWithRetries();
  }

  #showExtension(extension: Extension): void {
    const isDecided = STAGES[extension.status] === 2;
    // The decision arrives twice: in the command's answer and in the event. The screen shows the decision only once.
    const isKnown = this.#reachedStages.get(extension.id) === STAGES[extension.status];
    this.#reachedStages.set(extension.id, STAGES[extension.status]);
    if (isDecided) {
      this.extension = null;
      if (!isKnown) this.decidedExtension = extension;
    } else {
      this.extension = extension;
      this.decidedExtension = null;
    }
  }

  /** Keeps the state for a reload without a network. */
  #keep(): void {
    if (this.profile === undefined) return;
    const kept: KeptState = {
      profile: this.profile,
      payment: this.payment,
      pairing: this.pairing,
      session: this.session,
      extension: this.extension,
      closedPayment: this.closedPayment,
      messages: this.chat?.messages.slice(-MAX_KEPT_MESSAGES) ?? [],
    };
    tabStorage.setJson(KEPT_STATE_KEY, kept);
  }

  #restore(): void {
    const kept = tabStorage.getJson(KEPT_STATE_KEY) as KeptState | undefined;
    if (kept === undefined) return;
    this.profile = kept.profile;
    this.payment = kept.payment;
    this.pairing = kept.pairing;
    this.closedPayment = kept.closedPayment;
    this.extension = kept.extension;
    if (kept.session !== null) {
      this.session = kept.session;
      this.chat = new Chat(kept.session.id, this.#chatApi);
      this.chat.restore(kept.messages);
    }
    this.phase = 'ready';
  }

  #reset(): void {
    this.#socket.stop();
    this.profile = undefined;
    this.extension = this.decidedExtension = null;
    this.payment = this.pairing = this.session = this.closedPayment = this.endedSession = this.chat = null;
    this.connection = 'connecting';
    this.phase = 'loading';
  }
}

export const journey = new Journey();
