"""Test that the customer learns when the mitra is away, and what a session without its mitra leads to (X.11)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import valkey.asyncio

from curhat.app import invariants
from curhat.kit.database import Database
from curhat.kit.errors import PresenceUnknown
from curhat.kit.pause_points import set_pause_point
from curhat.kit.queries import read_clock
from curhat.payments.gateway import ChargeAnswer
from curhat.presence.service import Presence
from curhat.sessions import absences, extension, service
from curhat.sessions.absences import NEVER, Absences
from curhat.sessions.errors import MitraNotAway, SessionEnded
from curhat.sessions.service import OutgoingMessage
from tests.support.chats import Chat, open_chat, stream_events
from tests.support.clock import START, VirtualClock
from tests.support.journey import wait_for_lock
from tests.support.people import Make
from tests.support.presence_hooks import IGNORED_HOOKS


@pytest.fixture
async def chat(database: Database, make: Make, clock: VirtualClock) -> Chat:
    """Start a chat of 30 minutes at START."""
    await clock.set(START)
    return await open_chat(database, make, minutes=30)


async def away(database: Database, chat: Chat, heard_seconds_ago: float = 6.5) -> None:
    """A worker reports that the mitra was last heard `heard_seconds_ago`."""
    async with database.transaction() as tx:
        heard_at = await read_clock(tx) - timedelta(seconds=heard_seconds_ago)
        await absences.mark_away(tx, {chat.mitra.user_id: heard_at})


async def back(database: Database, chat: Chat, heard_seconds_ago: float = 0.0) -> None:
    """A server process reports that it hears the mitra."""
    async with database.transaction() as tx:
        heard_at = await read_clock(tx) - timedelta(seconds=heard_seconds_ago)
        await absences.mark_back(tx, {chat.mitra.user_id: heard_at})


async def end_with_review(database: Database, chat: Chat) -> Any:
    async with database.transaction() as tx:
        return await service.end_by_customer(tx, chat.customer.user_id, chat.id, with_review=True)


async def write(database: Database, chat: Chat, *senders: str) -> None:
    """Send one message per sender."""
    for number, sender in enumerate(senders):
        identity = chat.customer if sender == "customer" else chat.mitra
        async with database.transaction() as tx:
            await service.send_messages(tx, [OutgoingMessage(identity, chat.id, f"{sender}{number}", "halo")])


async def lengthen(database: Database, make: Make, chat: Chat) -> None:
    """Give the chat an approved extension of 15 minutes, paid with Rp10.000."""
    offer = await make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
    async with database.transaction() as tx:
        asked = await extension.request(tx, chat.customer.user_id, chat.id, offer, connected=True)
        _, charge = await extension.approve_by_mitra(tx, chat.mitra.user_id, asked.id)
        assert charge is not None
        await extension.charge_answered(tx, chat.id, charge.key, ChargeAnswer("approved"))


async def cases(database: Database) -> list[tuple[str, int, bool]]:
    """Return the reason of each case, its amount, and whether its charge counts as undelivered."""
    rows = await database.fetch(
        """
        SELECT reason, amount_rp,
            EXISTS (SELECT 1 FROM undelivered_charges WHERE payment_id = review_cases.payment_id) AS undelivered
        FROM review_cases ORDER BY amount_rp
        """
    )
    return [(row["reason"], row["amount_rp"], row["undelivered"]) for row in rows]


async def shown(database: Database, chat: Chat) -> tuple[bool, Any]:
    async with database.transaction() as tx:
        session = (await service.session_views(tx, chat.id)).for_customer
    return session.mitra_connected, session.review_possible_at


# What the customer sees ------------------------------------------------------------------------------------------


@pytest.mark.rule("X.11")
async def test_the_customer_is_told_after_6_s_that_the_mitra_is_away_and_then_that_it_is_back(
    database: Database, chat: Chat, clock: VirtualClock
) -> None:
    await clock.advance(60)
    await away(database, chat, heard_seconds_ago=5.9)
    assert await shown(database, chat) == (True, None)
    await away(database, chat, heard_seconds_ago=6.0)
    await away(database, chat)
    assert await shown(database, chat) == (False, START + timedelta(seconds=60 - 6 + 60))
    await back(database, chat)
    await back(database, chat)
    assert await shown(database, chat) == (True, None)
    told = await stream_events(database, chat.customer)
    assert [(kind, data["mitra_connected"]) for kind, data in told] == [
        ("session.updated", False),
        ("session.updated", True),
    ]
    assert await stream_events(database, chat.mitra) == []


@pytest.mark.rule("X.11")
@pytest.mark.parametrize(("reported", "is_away"), [("before the return", False), ("after it", True)])
async def test_a_late_report_of_an_absence_does_not_undo_a_return(
    database: Database, chat: Chat, clock: VirtualClock, reported: str, is_away: bool
) -> None:
    await clock.advance(60)
    await away(database, chat)
    heard_before = await clock.now() - timedelta(seconds=6.5)
    await back(database, chat, heard_seconds_ago=3.4)
    await clock.advance(4)
    heard_at = heard_before if reported == "before the return" else await clock.now() - timedelta(seconds=6.1)
    async with database.transaction() as tx:
        await absences.mark_away(tx, {chat.mitra.user_id: heard_at})
    assert (await shown(database, chat))[0] is not is_away


@pytest.mark.rule("X.11")
async def test_an_absence_counts_from_at_most_10_s_before_the_customer_was_told(
    database: Database, chat: Chat, clock: VirtualClock
) -> None:
    await clock.advance(300)
    async with database.transaction() as tx:
        await absences.mark_away(tx, {chat.mitra.user_id: NEVER})
    assert await shown(database, chat) == (False, START + timedelta(seconds=300 - 10 + 60))


@pytest.mark.rule("X.11")
async def test_a_locked_session_delays_nobody_who_reports_an_absence(
    database: Database, chat: Chat, clock: VirtualClock
) -> None:
    await clock.advance(60)
    async with database.transaction() as holder:
        await holder.execute("SELECT 1 FROM sessions WHERE id = $1 FOR NO KEY UPDATE", chat.id)
        async with asyncio.timeout(2):
            await away(database, chat)
    assert await shown(database, chat) == (True, None)
    await away(database, chat)
    assert not (await shown(database, chat))[0]


# Who notices -----------------------------------------------------------------------------------------------------


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 5
    while not await condition():
        assert time.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.01)


def presence_of(client: "valkey.asyncio.Valkey", database: Database) -> Presence:
    """Return the presence of one more process."""
    return Presence(client, database, IGNORED_HOOKS)


@pytest.mark.rule("X.11", "X.10")
async def test_a_worker_notices_a_mitra_whose_server_process_died_and_another_process_its_return(
    valkey_client: "valkey.asyncio.Valkey", database: Database, chat: Chat, clock: VirtualClock
) -> None:
    await clock.advance(60)
    died, worker, other = (presence_of(valkey_client, database) for _ in range(3))
    await died.opened(chat.mitra.user_id, "phone")
    await Absences(database, worker).look_for_away()
    assert await shown(database, chat) == (True, None)
    # The frames stop, and nobody reports a close.
    await worker._store._execute("HINCRBY", f"curhat:mitra:{chat.mitra.user_id}", "heard", -6_100)
    await Absences(database, worker).look_for_away()
    assert not (await shown(database, chat))[0]
    returns = Absences(database, other)
    await returns.look_for_back()
    assert not (await shown(database, chat))[0]
    await other.opened(chat.mitra.user_id, "phone again")
    await returns.look_for_back()
    assert (await shown(database, chat))[0]


@pytest.mark.rule("X.11", "X.10")
@pytest.mark.parametrize("lost", ["emptied", "away"])
async def test_nobody_becomes_away_while_valkey_may_lack_what_the_processes_know(
    valkey_client: "valkey.asyncio.Valkey",
    database: Database,
    chat: Chat,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    await clock.advance(60)
    presence = presence_of(valkey_client, database)
    await presence.opened(chat.mitra.user_id, "phone")
    looks = Absences(database, presence)
    await looks.look_for_away()
    if lost == "emptied":
        await valkey_client.flushdb()
    else:

        async def fail(*_arguments: object) -> None:
            raise OSError

        monkeypatch.setattr(presence._store, "_execute", fail)
    with pytest.raises(PresenceUnknown):
        await looks.look_for_away()
    assert await shown(database, chat) == (True, None)


@pytest.mark.rule("X.11", "X.10")
async def test_a_return_needs_no_valkey(
    valkey_client: "valkey.asyncio.Valkey",
    database: Database,
    chat: Chat,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await clock.advance(60)
    await away(database, chat)
    presence = presence_of(valkey_client, database)

    async def fail(*_arguments: object) -> None:
        raise OSError

    monkeypatch.setattr(presence._store, "_execute", fail)
    await presence.opened(chat.mitra.user_id, "phone")
    looks = Absences(database, presence)
    running = asyncio.create_task(looks.run_in_server())

    async def is_back() -> bool:
        return (await shown(database, chat))[0]

    looks.opened()
    await until(is_back)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# The end with a review -------------------------------------------------------------------------------------------


@pytest.mark.rule("X.11")
@pytest.mark.invariant(15)
async def test_after_60_s_the_customer_ends_with_a_review_that_covers_the_extensions(
    database: Database, make: Make, chat: Chat, clock: VirtualClock
) -> None:
    await lengthen(database, make, chat)
    await write(database, chat, "mitra", "customer")
    await clock.advance(300)
    await away(database, chat, heard_seconds_ago=6)
    for seconds, is_possible in ((53.9, False), (0.1, True)):
        await clock.advance(seconds)
        if is_possible:
            ended = await end_with_review(database, chat)
            assert (ended.end_reason, ended.review_reason) == ("customer_ended", "mitra_away")
            continue
        with pytest.raises(MitraNotAway) as refused:
            await end_with_review(database, chat)
        assert refused.value.fields["mitra_connected"] is False
        assert await database.fetchval("SELECT status FROM sessions") == "active"
        assert await cases(database) == []
    assert await cases(database) == [("mitra_away", 10_000, True), ("mitra_away", 20_000, True)]
    with pytest.raises(SessionEnded):
        await end_with_review(database, chat)


@pytest.mark.rule("X.11")
@pytest.mark.parametrize("first", ["the return", "the end"])
async def test_of_a_return_and_an_end_with_a_review_the_first_to_lock_the_session_decides(
    database: Database, chat: Chat, clock: VirtualClock, first: str
) -> None:
    await write(database, chat, "mitra")
    await clock.advance(60)
    await away(database, chat)
    await clock.advance(60)
    if first == "the return":
        async with database.transaction() as returning:
            await absences.mark_back(returning, {chat.mitra.user_id: await clock.now()})
            ending = asyncio.create_task(end_with_review(database, chat))
            await wait_for_lock(database)
        with pytest.raises(MitraNotAway):
            await ending
        assert await shown(database, chat) == (True, None)
        assert await cases(database) == []
    else:
        set_pause_point("session_end.written", lambda: back(database, chat))
        try:
            await end_with_review(database, chat)
        finally:
            set_pause_point("session_end.written", None)
        assert await cases(database) == [("mitra_away", 20_000, True)]
        told = [kind for kind, _ in await stream_events(database, chat.customer)]
        assert told == ["message.created", "session.updated", "session.ended"]


@pytest.mark.rule("X.11", "X.8")
@pytest.mark.parametrize("other", ["mitra", "suspension", "time"])
async def test_an_end_with_a_review_and_any_other_end_have_one_outcome(
    database: Database, chat: Chat, clock: VirtualClock, other: str
) -> None:
    async def end_otherwise() -> Any:
        async with database.transaction() as tx:
            if other == "mitra":
                return await service.end_by_mitra(tx, chat.mitra.user_id, chat.id, "capek")
            if other == "suspension":
                return await service.end_for_suspension(tx, chat.id)
            return await service.end_due(tx, {chat.id: 1})

    await write(database, chat, "mitra")
    await clock.advance(30 * 60 - 61)
    await away(database, chat)
    await clock.advance(61 if other == "time" else 60)
    outcomes = await asyncio.gather(end_with_review(database, chat), end_otherwise(), return_exceptions=True)
    assert all(not isinstance(each, Exception) or isinstance(each, SessionEnded) for each in outcomes), (
        outcomes
    )
    reason, delivery = await database.fetchrow("SELECT end_reason, delivery FROM sessions")  # type: ignore[misc]
    expected = {"customer_ended": "mitra_away", "time_up": "delivered"}.get(reason, "cut_short")
    assert delivery == expected
    assert await cases(database) == ([] if expected == "delivered" else [(expected, 20_000, True)])


# A session without an answer -------------------------------------------------------------------------------------


@pytest.mark.rule("X.11")
@pytest.mark.invariant(15)
@pytest.mark.parametrize(
    ("writers", "how", "reason"),
    [
        (["customer"], "time", "unanswered"),
        (["customer"], "customer", "unanswered"),
        (["customer"], "mitra", "cut_short"),
        (["customer", "mitra"], "time", None),
        (["mitra"], "customer", None),
        ([], "time", None),
    ],
)
async def test_a_session_in_which_only_the_customer_wrote_opens_a_case_for_all_that_was_paid(
    database: Database, make: Make, chat: Chat, clock: VirtualClock, writers: list[str], how: str, reason: str
) -> None:
    await lengthen(database, make, chat)
    await write(database, chat, *writers)
    async with database.transaction() as tx:
        if how == "customer":
            await service.end_by_customer(tx, chat.customer.user_id, chat.id)
        elif how == "mitra":
            await service.end_by_mitra(tx, chat.mitra.user_id, chat.id, "capek")
        else:
            await clock.advance(45 * 60)
            await service.end_due(tx, {chat.id: 1})
    assert await cases(database) == ([(reason, 10_000, True), (reason, 20_000, True)] if reason else [])
    (*_, (kind, data)) = await stream_events(database, chat.customer)
    assert (kind, data["review_reason"], data["extended_minutes"]) == ("session.ended", reason, 15)
    broken = [str(each) for each in await invariants.check(database, quiet=False)]
    assert [each for each in broken if "X.11" in each or "X.8" in each or each.startswith("15")] == []


@pytest.mark.rule("X.11")
async def test_a_message_of_the_mitra_that_commits_just_before_the_end_is_seen(
    database: Database, chat: Chat
) -> None:
    await write(database, chat, "customer")
    async with database.transaction() as sending:
        await service.send_messages(sending, [OutgoingMessage(chat.mitra, chat.id, "late", "halo")])

        async def end() -> None:
            async with database.transaction() as tx:
                await service.end_by_customer(tx, chat.customer.user_id, chat.id)

        ending = asyncio.create_task(end())
        await wait_for_lock(database)
    await ending
    assert await cases(database) == []
