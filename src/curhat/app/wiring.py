"""Where the rooms are put together: who is called when a lower room must set something off above it.

One process has one Services: the connections, the rooms' long-lived parts, and the loops that run beside the server or
in the worker. Data goes one way: endpoints and deadlines call services; services write and signal; signals wake the
sockets.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import structlog
import valkey.asyncio
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff

from curhat.accounts.service import Authenticator
from curhat.deadlines import service as deadlines
from curhat.deadlines.loop import Loop
from curhat.journeys import service as journeys
from curhat.journeys.push import PushTransitions, still_wanted
from curhat.journeys.transitions import Transitions
from curhat.kit.asgi import Scope
from curhat.kit.database import DATABASE_AWAY, Database
from curhat.kit.identity import Identity, Role
from curhat.kit.settings import Settings
from curhat.kit.signals import Signals
from curhat.notifications.addresses import Addresses
from curhat.notifications.outbox import Outbox
from curhat.notifications.templates import PushKind
from curhat.notifications.web_push import VapidKey, WebPush
from curhat.pairing import service as pairing
from curhat.pairing.cards import Cards
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.mock.gateway import MockGateway
from curhat.presence import hooks as presence_hooks
from curhat.presence.customers import CustomerConnections
from curhat.presence.events import PRESENCE_CHANGED
from curhat.presence.schemas import MitraPresence
from curhat.presence.service import Presence
from curhat.realtime.hooks import SocketIdentity
from curhat.realtime.hub import Hub
from curhat.realtime.tickets import redeem_ticket, ticket_in
from curhat.sessions import extension
from curhat.sessions.counterparts import Counterparts
from curhat.sessions.writer import MessageWriter

log = structlog.get_logger(__name__)

# How many commands of one process are with Valkey at once, and how long another waits for a place.
VALKEY_CONNECTIONS = 64
VALKEY_TIMEOUT_SECONDS = 1.0


def connect_valkey(url: str) -> valkey.asyncio.Valkey:
    """A client that never repeats a command by itself, and waits for a free connection.

    Without a socket time-out, on purpose: valkey-py would then write through `asyncio.wait_for`, which on Python 3.11
    can swallow a cancellation. Whoever asks bounds the question itself.
    """
    pool = valkey.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=VALKEY_CONNECTIONS,
        timeout=VALKEY_TIMEOUT_SECONDS,
        socket_connect_timeout=VALKEY_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    client: valkey.asyncio.Valkey = valkey.asyncio.Valkey.from_pool(pool)
    return client


class Hooks:
    """What the sockets ask of the rooms above them (realtime.hooks.SocketHooks)."""

    def __init__(
        self,
        database: Database,
        client: valkey.asyncio.Valkey,
        authenticator: Authenticator,
        presence: Presence,
        customers: CustomerConnections,
    ) -> None:
        self._database = database
        self._valkey = client
        self._authenticator = authenticator
        self._presence = presence
        self._customers = customers
        self._counterparts = Counterparts(database)
        self.cards: Cards | None = None
        self.hub: Hub | None = None

    async def authenticate(self, role: Role, scope: Scope) -> SocketIdentity | None:
        """By one-use ticket, bearer header, or cookie with an Origin on the list."""
        ticket = ticket_in(scope)
        if ticket is None:
            return await self._authenticator.socket_identity(role, scope)
        found = await redeem_ticket(self._valkey, role, ticket)
        if found is None or await self._authenticator.signed_out([found]):
            return None
        return found

    async def signed_out(self, held: Sequence[SocketIdentity]) -> Collection[bytes]:
        """Which of these tokens no longer admit their owner."""
        return await self._authenticator.signed_out(held)

    async def opened(self, identity: Identity, connection_id: str) -> None:
        """A mitra's lease begins; it is offered what is open. A customer who is connected is not pushed to."""
        if identity.role == "mitra":
            await self._presence.opened(identity.user_id, connection_id)
        else:
            await self._customers.opened(identity.user_id)

    def frame_received(self, identity: Identity, connection_id: str) -> None:
        """Any frame renews the lease."""
        if identity.role == "mitra":
            self._presence.frame_received(identity.user_id, connection_id)
        else:
            self._customers.heard(identity.user_id)

    async def closed(self, identity: Identity, connection_id: str) -> None:
        """A mitra has 3 s to come back; a customer with no other socket here, too."""
        if identity.role == "mitra":
            await self._presence.closed(identity.user_id, connection_id)
            try:
                await extension.socket_closed(self._database, identity.user_id)
            except DATABASE_AWAY as error:
                # The deadline of a pending extension looks at presence in any case.
                log.warning("extension.close_not_noted", error=type(error).__name__)
        elif self.hub is not None and not self.hub.holds(identity):
            self._customers.closed(identity.user_id)

    async def welcome_extras(self, identity: Identity) -> Mapping[str, object]:
        """The open requests, for a mitra."""
        if identity.role != "mitra" or self.cards is None:
            return {}
        return {"requests": await self.cards.welcome(identity.user_id)}

    async def typing_recipient(self, identity: Identity, session_id: UUID) -> Identity | None:
        """The other side of a running session."""
        return await self._counterparts.find(identity, session_id)


class Services:
    """The parts of one process, wired. Made by `open_services`."""

    def __init__(self, settings: Settings, database: Database, client: valkey.asyncio.Valkey) -> None:
        self.settings = settings
        self.database = database
        self.valkey = client
        self.signals = database.sink
        self.presence = Presence(client, database)
        self.customers = CustomerConnections(client)
        self.gateway = MockGateway(database)
        self.message_writer = MessageWriter(database)
        self.authenticator = Authenticator(database, settings)
        self.hooks = Hooks(database, client, self.authenticator, self.presence, self.customers)
        self.hub = Hub(database, database.sink, self.hooks)
        self.cards = Cards(database, self.hub)
        self.hooks.cards = self.cards
        self.hooks.hub = self.hub
        self.vapid_key = VapidKey(settings.vapid_private_key, _push_contact(settings))
        self.push_addresses = Addresses(allows_this_machine=settings.is_development)
        self.web_push = WebPush(self.vapid_key, self.push_addresses)
        self.outbox = Outbox(database, self.web_push, self._connected_among, self._still_wanted)
        self.transitions = {
            **Transitions(database, self.presence, self.gateway).by_kind(),
            **PushTransitions(database, self._connected_among, self.outbox.wake).by_kind(),
        }
        self.deadline_loop = Loop(database, self.transitions)
        self.gateway.on_charge_answer(self._charge_answered)
        self.presence.on_may_be_asked = self._offer
        self.presence.on_presence_changed = self._tell_presence

    async def _charge_answered(self, key: UUID, answer: ChargeAnswer) -> None:
        await journeys.record_charge_answer(self.database, self.presence, key, answer)

    async def _offer(self, mitra_ids: list[UUID]) -> None:
        await pairing.offer_open_blasts(self.database, mitra_ids)

    async def _connected_among(self, role: Role, user_ids: Sequence[UUID]) -> set[UUID]:
        held = self.presence if role == "mitra" else self.customers
        return await held.connected_among(user_ids)

    async def _still_wanted(self, kind: PushKind, subject_ids: Sequence[UUID]) -> set[UUID]:
        return await still_wanted(self.database, kind, subject_ids)

    def _tell_presence(self, mitra_id: UUID, presence: MitraPresence) -> None:
        self.hub.send_unsequenced(PRESENCE_CHANGED.to_mitra(mitra_id, presence))


def _push_contact(settings: Settings) -> str:
    """Where the people of a push service find whoever sends: our first public address."""
    for origin in settings.public_origins:
        if origin.startswith("https://"):
            return origin
    return "mailto:development@example.com"


presence_hooks.on_intent_changed.append(journeys.intent_changed)


@asynccontextmanager
async def open_services(
    settings: Settings, *, serves_sockets: bool, application_name: str
) -> AsyncIterator[Services]:
    """Connect and run the loops of a process: those of a server (`serves_sockets`), or of a worker.

    Settings must name both servers (`curhat up` passes the embedded ones on).
    """
    if settings.database_url is None or settings.valkey_url is None:
        raise RuntimeError("a process of the services needs CURHAT_DATABASE_URL and CURHAT_VALKEY_URL")
    client = connect_valkey(settings.valkey_url)
    signals = Signals(client)
    database = await Database.connect(
        settings.database_url,
        pool_size=settings.database_pool_size,
        sink=signals,
        application_name=application_name,
    )
    try:
        services = Services(settings, database, client)
        signals.handle_locally("mitra_changed", services.presence.mitra_changed)
        loops = [signals.run, services.presence.run]
        if serves_sockets:
            services.hub.listen(signals)
            services.authenticator.listen(signals, services.hub)
            signals.handle("requests", services.cards.handle_signal)
            loops += [
                services.hub.run,
                services.cards.run,
                services.authenticator.run,
                services.customers.run,
            ]
        else:
            signals.handle(deadlines.SIGNAL, services.deadline_loop.wake)
            loops += [services.presence.keep_push_reachable, services.outbox.run]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(loop()) for loop in loops]
            try:
                yield services
            finally:
                await services.hub.drain()
                await services.gateway.close()
                await services.web_push.close()
                for task in running:
                    task.cancel()
    finally:
        await database.close()
        await client.aclose()
