"""Test that no step of a person waits for a deadline that a stopped worker or another transaction holds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest
import valkey.asyncio

from curhat.deadlines import service as deadlines
from curhat.dev.embedded import EmbeddedServers
from curhat.journeys.push import PUSH_MESSAGES, PushTransitions
from curhat.kit import database as kit_database
from curhat.kit.database import Database
from curhat.kit.identity import Role
from curhat.kit.pause_points import set_pause_point
from curhat.sessions import extension
from curhat.sessions import service as sessions
from curhat.sessions.service import OutgoingMessage
from tests.security.operations import ENTERED, send
from tests.support.chats import Chat, open_chat
from tests.support.clock import VirtualClock
from tests.support.people import Make
from tests.support.race import Hold, Side, command, race
from tests.support.signed_in import RunningServer, development_settings, problem, start_server

# The maximum time for which a statement of the server can wait for a lock.
LOCK_TIMEOUT_MS = 700

# Gives every signed-in customer and mitra a push subscription, so that the push triggers arm deadlines.
SUBSCRIBE_EVERYBODY = """
INSERT INTO push_subscriptions (role, user_id, token_digest, endpoint, p256dh, auth, language)
SELECT role, user_id, digest, 'https://push.example/' || encode(digest, 'hex'), decode(repeat('04', 65), 'hex'),
    decode(repeat('00', 16), 'hex'), 'id'
FROM access_tokens
ON CONFLICT DO NOTHING
"""
# Arms the deadlines that are perhaps already armed when a step begins: the push deadlines, and the checks of a mitra's
# presence.
ARM_EVERYTHING = """
INSERT INTO deadlines (kind, entity_id, due_at)
SELECT kind, id, curhat_now() + interval '1 minute' FROM (
    SELECT 'push_requests' AS kind, id FROM pairings
    UNION ALL SELECT 'push_match', id FROM sessions
    UNION ALL SELECT 'push_messages', id FROM sessions
    UNION ALL SELECT 'targeted_lost', id FROM pairings WHERE kind = 'targeted'
    UNION ALL SELECT 'extension_presence', id FROM extensions
) AS armed
ON CONFLICT DO NOTHING
"""
# Locks all deadlines like a worker that has claimed them.
CLAIM = "DELETE FROM deadlines WHERE id IN (SELECT id FROM deadlines FOR UPDATE)"


@pytest.fixture
async def server(
    servers: EmbeddedServers,
    database_url: str,
    database: Database,
    valkey_client: "valkey.asyncio.Valkey",
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[RunningServer]:
    """A server on which a statement fails if it waits for a lock."""
    monkeypatch.setattr(kit_database, "LOCK_TIMEOUT_MS", LOCK_TIMEOUT_MS)
    async with start_server(development_settings(database_url, servers.valkey_url), database) as opened:
        yield opened


@contextlib.asynccontextmanager
async def deadlines_held(database: Database) -> AsyncIterator[None]:
    """Hold every deadline in another transaction."""
    await database.execute(SUBSCRIBE_EVERYBODY)
    await database.execute(ARM_EVERYTHING)
    with contextlib.suppress(_RollBack):
        async with database.transaction() as tx:
            await tx.execute(CLAIM)
            yield
            raise _RollBack


class _RollBack(Exception):
    pass


@pytest.mark.rule("X.8")
@pytest.mark.invariant(12)
async def test_no_operation_waits_for_a_deadline_that_another_transaction_holds(
    server: RunningServer,
) -> None:
    answers: dict[str, tuple[int, Any]] = {}
    async with server.available_mitra():
        for operation, entry in ENTERED:
            call = await entry.prepare(server)
            async with deadlines_held(server.database):
                answers[operation.id] = problem(await send(server, operation, call))
    assert answers == {operation.id: (entry.status, None) for operation, entry in ENTERED}


@pytest.mark.rule("5.6", "X.8")
async def test_the_server_checks_a_closed_socket_although_another_transaction_holds_the_deadlines(
    server: RunningServer,
) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    offer_id = await server.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
    async with mitra.socket() as phone:
        asked = await customer.post(f"/sessions/{chat.id}/extensions", {"offer_id": str(offer_id)})
        assert asked.json()["status"] == "pending"
        async with deadlines_held(server.database):
            held = await server.database.fetchval("SELECT max(id) FROM deadlines")
            await phone.connection.close()
            async with asyncio.timeout(5):
                while not await server.database.fetchval(
                    "SELECT count(*) FROM deadlines WHERE kind = $1 AND id > $2",
                    extension.EXTENSION_PRESENCE,
                    held,
                ):
                    await asyncio.sleep(0.01)


# Races with messages -----------------------------------------------------------------


@pytest.fixture
async def chat(database: Database, make: Make, clock: VirtualClock) -> Chat:
    """A chat with a customer who has a push subscription and an unread message. The chat's push deadline is due."""
    await clock.set()
    opened = await open_chat(database, make)
    await database.execute(
        "INSERT INTO access_tokens (digest, role, user_id, transport, expires_at) "
        "VALUES ('\\x01', 'customer', $1, 'bearer', curhat_now() + interval '1 day')",
        opened.customer.user_id,
    )
    await database.execute(SUBSCRIBE_EVERYBODY)
    await database.execute("DELETE FROM deadlines")
    return opened


async def _nobody(_role: Role, _user_ids: Sequence[UUID]) -> set[UUID]:
    return set()


def message(database: Database, chat: Chat, number: int) -> Side:
    """Return a side that sends a message as the mitra."""
    text = OutgoingMessage(chat.mitra, chat.id, str(number), "halo")
    return command(database, lambda tx: sessions.send_messages(tx, [text]))


def fires_push(database: Database) -> Side:
    """Return a side that fires the chat's push deadlines like a worker, if the side can claim them."""
    transitions = PushTransitions(database, _nobody, lambda: None).by_kind()

    async def side(hold: Hold) -> str:
        async def once() -> None:
            set_pause_point("deadline.before_commit", None)
            await hold()

        set_pause_point("deadline.before_commit", once)
        due = await database.fetch(
            "SELECT id FROM deadlines WHERE kind = $1 AND due_at <= curhat_now() ORDER BY id", PUSH_MESSAGES
        )
        fired = [await deadlines.fire(database, row["id"], transitions) for row in due]
        return "fired" if any(fired) else "nothing"

    return side


@pytest.mark.rule("4.1")
async def test_no_worker_fires_an_armed_push_deadline_while_a_message_commits(
    database: Database, chat: Chat, clock: VirtualClock
) -> None:
    """If the worker fired the deadline before the message commits, the worker would not see the message."""
    await message(database, chat, 1)(_no_hold)
    await clock.advance(3)
    outcome = await race(database, message(database, chat, 2), fires_push(database), waits=False)
    assert outcome == ("done", "nothing")
    assert await fires_push(database)(_no_hold) == "fired"


@pytest.mark.rule("4.1")
async def test_a_message_arms_another_deadline_while_a_worker_holds_the_first_deadline(
    database: Database, chat: Chat, clock: VirtualClock
) -> None:
    await message(database, chat, 1)(_no_hold)
    await clock.advance(3)
    outcome = await race(database, fires_push(database), message(database, chat, 2), waits=False)
    assert outcome == ("fired", "done")
    await clock.advance(10)
    armed = await database.fetchval("SELECT count(*) FROM deadlines WHERE kind = $1", PUSH_MESSAGES)
    assert await fires_push(database)(_no_hold) == "fired"
    # The two deadlines become one deadline again, so that a worker checks each chat once per interval.
    left = await database.fetchval("SELECT count(*) FROM deadlines WHERE kind = $1", PUSH_MESSAGES)
    assert (armed, left) == (2, 1)


async def _no_hold() -> None:
    return None
