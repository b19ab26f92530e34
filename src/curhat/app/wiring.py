"""Builds the parts of a process: its connections, the long-lived objects of the packages, and its loops.

A package must not import a higher package. If an object must call a higher package, its constructor takes hooks, and
this module provides these hooks. Each object is constructed from objects that already exist.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
import valkey.asyncio
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff

from curhat.accounts.senders import code_senders
from curhat.accounts.service import Authenticator
from curhat.app.closing.service import BOOKS_CLOSE, BookClosing
from curhat.deadlines import service as deadlines
from curhat.deadlines.loop import Loop
from curhat.deadlines.service import Transition
from curhat.journeys import charging, mitras
from curhat.journeys.push import PushTransitions, still_wanted
from curhat.journeys.transitions import Transitions
from curhat.kit.asgi import Scope
from curhat.kit.database import DATABASE_AWAY, Database, is_away
from curhat.kit.identity import Identity, Role
from curhat.kit.settings import Settings
from curhat.kit.signals import Signals
from curhat.notifications.addresses import Addresses
from curhat.notifications.fcm import Fcm, ServiceAccount
from curhat.notifications.outbox import Outbox
from curhat.notifications.port import Channels
from curhat.notifications.web_push import VapidKey, WebPush
from curhat.pairing import service as pairing
from curhat.pairing.cards import Cards
from curhat.payments.gateway import ChargeCallback, RefundCallback
from curhat.payments.mock.gateway import MockGateway
from curhat.presence.customers import CustomerConnections
from curhat.presence.events import PRESENCE_CHANGED
from curhat.presence.hooks import PresenceHooks
from curhat.presence.service import Presence
from curhat.privacy.erasure.service import Erasing
from curhat.realtime.hooks import HubHooks, SocketIdentity
from curhat.realtime.hub import Hub
from curhat.realtime.protocol import Refused, SendMessage, Sent
from curhat.realtime.tickets import redeem_ticket, ticket_in
from curhat.sessions import extension
from curhat.sessions.absences import Absences
from curhat.sessions.counterparts import Counterparts
from curhat.sessions.extension_pings import ExtensionPings
from curhat.sessions.message_frames import MessageFrames
from curhat.sessions.writer import MessageWriter

log = structlog.get_logger(__name__)

# How many commands one process sends to Valkey at the same time. A further command waits for a free connection, for
# at most VALKEY_TIMEOUT_SECONDS.
MAX_VALKEY_CONNECTIONS = 64
VALKEY_TIMEOUT_SECONDS = 1.0
# At the start, the pause between two tries to reach PostgreSQL grows from MIN to MAX.
MIN_CONNECT_PAUSE_SECONDS = 0.25
MAX_CONNECT_PAUSE_SECONDS = 4.0
# A process that waits for PostgreSQL checks every STOP_CHECK_INTERVAL_SECONDS whether it must stop.
STOP_CHECK_INTERVAL_SECONDS = 0.05


def connect_valkey(url: str) -> valkey.asyncio.Valkey:
    """Return a Valkey client that never retries a command. If no connection is free, a command waits.

    The client has no socket timeout. With a timeout, valkey-py writes through `asyncio.wait_for`, which can lose a
    cancellation on Python 3.11. Each caller sets a timeout around its command.
    """
    pool = valkey.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_VALKEY_CONNECTIONS,
        timeout=VALKEY_TIMEOUT_SECONDS,
        socket_connect_timeout=VALKEY_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    client: valkey.asyncio.Valkey = valkey.asyncio.Valkey.from_pool(pool)
    return client


@dataclass(frozen=True)
class Hooks:
    """The functions of higher packages that each socket calls (realtime.hooks.SocketHooks)."""

    database: Database
    client: valkey.asyncio.Valkey
    authenticator: Authenticator
    hub: Hub
    cards: Cards
    presence: Presence
    customers: CustomerConnections
    message_frames: MessageFrames
    absences: Absences

    async def authenticate(self, role: Role, scope: Scope) -> SocketIdentity | None:
        """Authenticate a socket by its one-use ticket, its bearer header, or its cookie.

        A cookie is valid only if the Origin header contains one of the `public_origins`. Returns None if nobody is
        signed in.
        """
        ticket = ticket_in(scope)
        if ticket is None:
            return await self.authenticator.socket_identity(role, scope)
        found = await redeem_ticket(self.client, role, ticket)
        if found is None or await self.authenticator.signed_out([found]):
            return None
        return found

    async def opened(self, identity: Identity, connection_id: str) -> None:
        """For a mitra, begin the lease. For a customer, record that the customer is connected and needs no push."""
        if identity.role == "mitra":
            await self.presence.opened(identity.user_id, connection_id)
            self.absences.opened()
        else:
            await self.customers.opened(identity.user_id)

    def frame_received(self, identity: Identity, connection_id: str) -> None:
        """For a mitra, renew the lease. For a customer, record that the customer is still connected."""
        if identity.role == "mitra":
            self.presence.frame_received(identity.user_id, connection_id)
        else:
            self.customers.heard(identity.user_id)

    def send_message(
        self, identity: Identity, frame: SendMessage, answer: Callable[[Sent | Refused], None]
    ) -> None:
        """Store a chat message, and call `answer` with the outcome."""
        self.message_frames.send(identity, frame, answer)

    async def closed(self, identity: Identity, connection_id: str, *, may_come_back: bool) -> None:
        """Start the 3 s in which the user can reconnect. A signed-out user gets no time to reconnect.

        If a customer has another socket in this process, do nothing.
        """
        if identity.role == "mitra":
            await self.presence.closed(identity.user_id, connection_id, may_come_back=may_come_back)
            try:
                await extension.socket_closed(self.database, identity.user_id)
            except DATABASE_AWAY as error:
                # Even if no worker checks the reconnection, the server charges nothing, because Valkey shows at the
                # extension's deadline that the mitra came back too late.
                log.warning("extension.close_not_recorded", error=type(error).__name__)
        elif not self.hub.holds(identity):
            self.customers.closed(identity.user_id)

    async def welcome_extras(self, identity: Identity) -> Mapping[str, object]:
        """For a mitra, return the open requests. For a customer, return an empty mapping."""
        if identity.role != "mitra":
            return {}
        return {"requests": await self.cards.welcome(identity.user_id)}


class Services:
    """The long-lived objects of one process. `open_services` constructs a Services."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        client: valkey.asyncio.Valkey,
        signals: Signals,
        gateway_database: Database | None = None,
    ) -> None:
        """`gateway_database` holds the records of the mock gateway (default: `database`)."""
        self.settings = settings
        self.database = database
        self.signals = signals
        self.valkey = client
        self.authenticator = authenticator = Authenticator(database, settings)
        self.code_senders = code_senders(settings, database)
        self.message_writer = MessageWriter(database)
        self.hub = hub = Hub(
            database,
            database.sink,
            HubHooks(signed_out=authenticator.signed_out, typing_recipient=Counterparts(database).find),
        )
        self.cards = Cards(database, hub)
        self.extension_pings = ExtensionPings(database, hub)

        async def newly_available(mitra_ids: Sequence[UUID]) -> bool:
            return (await pairing.offer_open_blasts(database, mitra_ids)).is_complete

        self.presence = presence = Presence(
            client,
            database,
            PresenceHooks(
                intent_changed=mitras.intent_changed,
                newly_available=newly_available,
                presence_changed=lambda mitra_id, shown: hub.send_unsequenced(
                    PRESENCE_CHANGED.to_mitra(mitra_id, shown)
                ),
            ),
        )
        self.absences = absences = Absences(database, presence)
        self.customers = customers = CustomerConnections(client)
        self.hooks = Hooks(
            database,
            client,
            authenticator,
            hub,
            self.cards,
            presence,
            customers,
            MessageFrames(self.message_writer),
            absences,
        )
        self.gateway = build_gateway(
            settings,
            gateway_database or database,
            partial(charging.record_charge_answer, database, presence),
            partial(charging.record_refund_answer, database),
        )

        async def connected_among(role: Role, user_ids: Sequence[UUID]) -> set[UUID]:
            connections = presence if role == "mitra" else customers
            return await connections.connected_among(user_ids)

        # The operators of a push service can contact us at our first https origin.
        secure_origins = (origin for origin in settings.public_origins if origin.startswith("https://"))
        contact = next(secure_origins, "mailto:development@example.com")
        self.vapid_key = VapidKey(settings.vapid_private_key, contact)
        self.push_addresses = Addresses(allows_this_machine=settings.is_development)
        self.web_push = WebPush(self.vapid_key, self.push_addresses)
        self.fcm = (
            Fcm(ServiceAccount.from_json(settings.fcm_service_account))
            if settings.fcm_service_account
            else None
        )
        self.push_channels = Channels(self.web_push, self.fcm)
        self.outbox = Outbox(database, self.push_channels, connected_among, partial(still_wanted, database))
        self.transitions: dict[str, Transition] = {
            **Transitions(database, presence, self.gateway).by_kind(),
            **PushTransitions(database, connected_among, self.outbox.wake).by_kind(),
            **Erasing(database, settings.erasure_list).by_kind(),
            BOOKS_CLOSE: BookClosing(database, self.gateway),
        }
        self.deadline_loop = Loop(database, self.transitions)


class StoppedWaiting(Exception):
    """The process was told to stop while it waited for PostgreSQL."""


async def _connect_database(
    url: str, settings: Settings, signals: Signals, application_name: str, should_stop: Callable[[], bool]
) -> Database:
    """Connect to PostgreSQL. While PostgreSQL is away or cannot write, try again.

    PostgreSQL sometimes starts after this process. If the process ended instead of waiting, its supervisor might give
    up. Raises StoppedWaiting. Raises the error of PostgreSQL if waiting cannot help, for example after a wrong
    password.
    """
    pause_seconds = MIN_CONNECT_PAUSE_SECONDS
    while True:
        try:
            return await Database.connect(
                url, pool_size=settings.database_pool_size, sink=signals, application_name=application_name
            )
        except DATABASE_AWAY as error:
            if not is_away(error):
                raise
            log.warning("postgresql.waiting", error=f"{type(error).__name__}: {error}")
        for _ in range(round(pause_seconds / STOP_CHECK_INTERVAL_SECONDS)):
            if should_stop():
                raise StoppedWaiting
            await asyncio.sleep(STOP_CHECK_INTERVAL_SECONDS)
        pause_seconds = min(2 * pause_seconds, MAX_CONNECT_PAUSE_SECONDS)


def build_gateway(
    settings: Settings,
    database: Database,
    charge_callback: ChargeCallback | None = None,
    refund_callback: RefundCallback | None = None,
) -> MockGateway:
    """Construct the gateway that `settings.gateway` names. So far, `mock` is the only gateway."""
    return MockGateway(database, charge_callback, refund_callback, settings.gateway_webhook_token)


async def open_gateway_database(settings: Settings) -> Database | None:
    """Connect to the database of the mock gateway's records.

    None means that the records are in the service's database.
    """
    if settings.mock_gateway_database_url is None:
        return None
    return await Database.connect(
        settings.mock_gateway_database_url,
        pool_size=settings.database_pool_size,
        application_name="curhat mock gateway",
    )


def _never() -> bool:
    return False


@asynccontextmanager
async def open_services(
    settings: Settings,
    *,
    serves_sockets: bool,
    application_name: str,
    should_stop: Callable[[], bool] = _never,
) -> AsyncIterator[Services]:
    """Connect to PostgreSQL and Valkey, run the loops of the process, and yield the Services.

    With `serves_sockets`, run the loops of a server process. Without `serves_sockets`, run the loops of a worker.
    Waits until PostgreSQL can write, or until `should_stop` returns true (StoppedWaiting). Does not wait for Valkey,
    because the service works without Valkey (X.10).
    Raises RuntimeError if the settings have no URL of PostgreSQL or no URL of Valkey. In development, `curhat up` puts
    the URLs of its embedded servers into the settings.
    """
    if settings.database_url is None or settings.valkey_url is None:
        raise RuntimeError("a process of the services needs CURHAT_DATABASE_URL and CURHAT_VALKEY_URL")
    if not settings.is_development and (settings.owner_database_url or settings.admin_database_url):
        raise RuntimeError(
            "a process that serves must not know CURHAT_OWNER_DATABASE_URL or CURHAT_ADMIN_DATABASE_URL: "
            "whoever takes it over could change the schema and the audit"
        )
    if settings.is_mocked_in_production:
        log.warning("gateway.mocked", effect="no payment moves money", setting="CURHAT_GATEWAY")
    client = connect_valkey(settings.valkey_url)
    signals = Signals(client)
    try:
        database = await _connect_database(
            settings.database_url, settings, signals, application_name, should_stop
        )
    except BaseException:
        await client.aclose()
        raise
    gateway_database: Database | None = None
    try:
        gateway_database = await open_gateway_database(settings)
        services = Services(settings, database, client, signals, gateway_database)
        signals.handle_locally("mitra_changed", services.presence.mitra_changed)
        loops = [signals.run, services.presence.run]
        if serves_sockets:
            services.hub.listen(signals)
            services.authenticator.listen(signals, services.hub)
            signals.handle("requests", services.cards.handle_signal)
            loops += [
                services.hub.run,
                services.cards.run,
                services.extension_pings.run,
                services.authenticator.run,
                services.customers.run,
                services.absences.run_in_server,
            ]
        else:
            signals.handle(deadlines.SIGNAL, services.deadline_loop.wake)
            loops += [
                services.presence.keep_push_reachable,
                services.absences.run_in_worker,
                services.outbox.run,
            ]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(loop()) for loop in loops]
            try:
                yield services
            finally:
                await services.hub.drain()
                await services.gateway.close()
                await services.web_push.close()
                await services.push_addresses.close()
                if services.fcm is not None:
                    await services.fcm.close()
                await services.code_senders.close()
                for task in running:
                    task.cancel()
    finally:
        if gateway_database is not None:
            await gateway_database.close()
        await database.close()
        await client.aclose()
