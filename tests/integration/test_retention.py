"""Test how long the text of a chat is kept, who can read it, and what a report holds."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from curhat.app import invariants, worker
from curhat.kit.database import Database
from curhat.kit.errors import NotFound
from curhat.privacy.retention import queries as retention_queries
from curhat.privacy.retention import service as retention
from curhat.safety.reports import service as reports
from curhat.safety.reports.errors import TextGone
from curhat.safety.reports.schemas import NewReport
from curhat.sessions import queries as session_queries
from curhat.sessions import service as sessions
from curhat.sessions.errors import ChatRuns
from tests.support.chats import Chat, open_chat
from tests.support.clock import VirtualClock
from tests.support.old_chats import DECIDE, end, new_operator, report, texts_of, write
from tests.support.people import Make

HOUR = 3600
DAY = 24 * HOUR
# From 1 January 2026, 12 months have 365 days.
YEAR = 365 * DAY


@pytest.fixture
async def ended(database: Database, make: Make, clock: VirtualClock) -> Chat:
    """Make a chat of two messages that has just ended."""
    await clock.set()
    chat = await open_chat(database, make)
    await write(database, chat, "halo", "halo juga")
    await end(database, chat)
    return chat


async def shown(database: Database, chat: Chat, role: str) -> tuple[list[str], bool]:
    """Return the texts that a member reads, oldest first, and whether the text is gone for the member."""
    identity = chat.customer if role == "customer" else chat.mitra
    async with database.transaction() as tx:
        page = await sessions.messages_page(tx, identity, chat.id, None)
        views = await sessions.own_session(tx, identity, chat.id)
    session = views.for_customer if role == "customer" else views.for_mitra
    assert (session.text_until, session.text_gone) == (page.text_until, page.text_gone)
    return [message.text for message in reversed(page.items)], page.text_gone


async def destroy_due(database: Database, max_messages: int = 10_000) -> int:
    async with database.transaction() as tx:
        return await sessions.destroy_due_texts(tx, max_messages)


@pytest.mark.rule("P.7")
async def test_the_customer_reads_a_chat_for_12_months_and_the_mitra_for_30_days(
    database: Database, clock: VirtualClock, ended: Chat
) -> None:
    texts = ["halo", "halo juga"]
    await clock.advance(30 * DAY - 1)
    assert await shown(database, ended, "mitra") == (texts, False)
    await clock.advance(1)
    assert await shown(database, ended, "mitra") == ([], True)
    await clock.advance(YEAR - 30 * DAY - 1)
    await worker.prune(database)
    assert await shown(database, ended, "customer") == (texts, False)
    await clock.advance(1)
    await worker.prune(database)
    assert await shown(database, ended, "customer") == ([], True)
    assert await texts_of(database, ended.id) == []
    # The row of the history stays.
    async with database.transaction() as tx:
        page = await sessions.history(tx, ended.customer, None)
    assert [views.for_customer.id for views in page.items] == [ended.id]


@pytest.mark.rule("P.7")
async def test_a_deleted_chat_is_hidden_at_once_and_destroyed_when_the_mitra_had_72_hours_to_report_it(
    database: Database, clock: VirtualClock, ended: Chat
) -> None:
    await clock.advance(HOUR)
    for _ in range(2):
        async with database.transaction() as tx:
            await sessions.hide_text(tx, ended.customer.user_id, ended.id)
    assert await shown(database, ended, "customer") == ([], True)
    assert await shown(database, ended, "mitra") == ([], True)
    # The devices of both members learn it at once.
    assert (
        await database.fetchval(
            "SELECT count(*) FROM stream_events WHERE type = 'session.updated' AND data::jsonb ->> 'text_gone' = 'true'"
        )
        == 2
    )
    await clock.advance(71 * HOUR - 1)
    await worker.prune(database)
    assert await texts_of(database, ended.id) == ["halo", "halo juga"]
    await clock.advance(1)
    await worker.prune(database)
    assert await texts_of(database, ended.id) == []


@pytest.mark.rule("P.7")
async def test_only_the_customer_of_an_ended_chat_can_delete_it(
    database: Database, make: Make, ended: Chat
) -> None:
    running = await open_chat(database, make)
    for customer_id, session_id, refusal in (
        (running.customer.user_id, running.id, ChatRuns),
        (running.customer.user_id, ended.id, NotFound),
        (ended.mitra.user_id, ended.id, NotFound),
        (ended.customer.user_id, uuid4(), NotFound),
    ):
        with pytest.raises(refusal):
            async with database.transaction() as tx:
                await sessions.hide_text(tx, customer_id, session_id)
    assert await shown(database, ended, "customer") == (["halo", "halo juga"], False)


@pytest.mark.rule("T.2", "P.7")
@pytest.mark.invariant(14)
async def test_a_report_holds_the_text_until_90_days_after_its_decision(
    database: Database, clock: VirtualClock, ended: Chat
) -> None:
    report_id = await report(database, ended.mitra, ended.id)
    async with database.transaction() as tx:
        await sessions.hide_text(tx, ended.customer.user_id, ended.id)
    await clock.advance(2 * YEAR)
    await worker.prune(database)
    await database.execute(DECIDE, report_id, await new_operator(database))
    await clock.advance(90 * DAY - 1)
    async with database.transaction() as tx:
        assert await sessions.destroy_text(tx, [ended.id]) == []
    assert await texts_of(database, ended.id) == ["halo", "halo juga"]
    await clock.advance(1)
    async with database.transaction() as tx:
        assert await sessions.destroy_text(tx, [ended.id]) == [ended.id]
    assert await texts_of(database, ended.id) == []


@pytest.mark.invariant(14)
@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("DELETE FROM messages WHERE session_id = $1", "messages_held_text_stays"),
        ("UPDATE sessions SET text_deleted_at = curhat_now() WHERE id = $1", "sessions_held_text_stays"),
    ],
)
async def test_the_database_refuses_to_delete_held_text(
    database: Database, ended: Chat, statement: str, constraint: str
) -> None:
    await report(database, ended.customer, ended.id)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await database.execute(statement, ended.id)
    assert refused.value.constraint_name == constraint


@pytest.mark.invariant(14)
async def test_the_database_refuses_to_delete_the_text_of_a_running_chat_or_to_bring_deleted_text_back(
    database: Database, make: Make, ended: Chat
) -> None:
    running = await open_chat(database, make)
    await write(database, running, "masih di sini")
    delete = "DELETE FROM messages WHERE session_id = $1"
    mark = "UPDATE sessions SET text_deleted_at = curhat_now() WHERE id = $1"
    await database.execute("UPDATE sessions SET text_hidden_at = curhat_now() WHERE id = $1", ended.id)
    for statement, session_id, constraint in (
        (delete, running.id, "messages_of_a_running_chat_stay"),
        (mark, running.id, "sessions_text_of_a_running_chat"),
        (mark, ended.id, "sessions_deleted_text_is_gone"),
    ):
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await database.execute(statement, session_id)
        assert refused.value.constraint_name == constraint
    async with database.transaction() as tx:
        assert await sessions.destroy_text(tx, [ended.id, running.id]) == [ended.id]
    with pytest.raises(asyncpg.CheckViolationError):
        await database.execute("UPDATE sessions SET text_deleted_at = NULL WHERE id = $1", ended.id)
    assert await texts_of(database, running.id) == ["masih di sini"]


@pytest.mark.rule("T.2")
@pytest.mark.invariant(14)
@pytest.mark.parametrize("first", ["report", "destroy"])
async def test_a_report_and_the_destruction_of_its_text_have_one_winner(
    database: Database, ended: Chat, first: str
) -> None:
    async def destroy() -> list[UUID]:
        async with database.transaction() as tx:
            return await sessions.destroy_text(tx, [ended.id])

    async def make_report() -> bool:
        try:
            await report(database, ended.mitra, ended.id)
        except TextGone:
            return False
        return True

    if first == "report":
        async with database.transaction() as tx:
            await reports.report(tx, ended.mitra, ended.id, NewReport("threat"))
            destroying = asyncio.create_task(destroy())
            await _until_somebody_waits(database)
        assert await destroying == []
    else:
        async with database.transaction() as tx:
            assert await sessions.destroy_text(tx, [ended.id]) == [ended.id]
            reporting = asyncio.create_task(make_report())
            await _until_somebody_waits(database)
        assert not await reporting
    violations = await invariants.check(database)
    assert [each.invariant.name for each in violations if each.invariant.number == "14"] == []


async def _until_somebody_waits(database: Database) -> None:
    async with asyncio.timeout(10):
        while not await database.fetchval(
            "SELECT EXISTS (SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE NOT granted AND datname = current_database())"
        ):
            await asyncio.sleep(0.005)


@pytest.mark.rule("P.7")
async def test_texts_are_destroyed_in_batches_and_no_worker_waits_for_another(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    await clock.set()
    chats = [await open_chat(database, make) for _ in range(4)]
    for chat in chats:
        await write(database, chat, "satu", "dua", "tiga")
        await end(database, chat)
    await clock.advance(YEAR)
    # A batch ends with the chat that reaches the limit.
    assert await destroy_due(database, max_messages=4) == 4
    assert await database.fetchval("SELECT count(*) FROM messages") == 6
    # A second worker leaves out the chats that the first one has locked.
    async with database.transaction() as first, database.transaction() as second:
        assert await sessions.destroy_due_texts(first, 1) == 1
        assert await sessions.destroy_due_texts(second, 1) == 0
    assert await database.fetchval("SELECT count(*) FROM messages") == 3
    assert await destroy_due(database) == 10_000
    assert await destroy_due(database) == 0
    assert await database.fetchval("SELECT count(*) FROM messages") == 0


@pytest.mark.rule("P.7")
async def test_what_is_over_its_time_is_counted_from_its_end(
    database: Database, clock: VirtualClock, ended: Chat
) -> None:
    assert set((await retention.read_overdue(database)).values()) == {0.0}
    await clock.advance(YEAR + HOUR)
    overdue = await retention.read_overdue(database)
    assert overdue["chat text"] == HOUR
    assert overdue["events"] == YEAR - DAY + HOUR
    await worker.prune(database)
    assert set((await retention.read_overdue(database)).values()) == {0.0}


@pytest.mark.rule("P.7")
async def test_reports_and_notices_are_deleted_24_months_after_their_last_step(
    database: Database, clock: VirtualClock, make: Make, ended: Chat
) -> None:
    other = await open_chat(database, make)
    await write(database, other, "halo")
    old, undecided = (
        await report(database, ended.mitra, ended.id),
        await report(database, other.mitra, other.id),
    )
    await database.execute(DECIDE, old, await new_operator(database))
    await database.execute(
        "INSERT INTO notices (role, user_id, kind, report_id) VALUES ('mitra', $1, 'report_no_violation', $2)",
        ended.mitra.user_id,
        old,
    )
    # 2026 and 2027 have 365 days.
    await clock.advance(2 * YEAR - HOUR)
    await worker.prune(database)
    assert await database.fetchval("SELECT count(*) FROM reports") == 2
    await clock.advance(2 * HOUR)
    await worker.prune(database)
    assert [row["id"] for row in await database.fetch("SELECT id FROM reports")] == [undecided]
    assert await database.fetchval("SELECT count(*) FROM notices") == 0


@pytest.mark.rule("P.7")
@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        (session_queries.LOCK_DUE_TEXTS, (12, 72, 200, 10_000)),
        (session_queries.READ_OVERDUE_TEXT, (12, 72)),
        (retention_queries.PRUNE_NOTICES, (24, 10_000)),
        (retention_queries.PRUNE_RATINGS, (24, 10_000)),
        (retention_queries.PRUNE_REPORTS, (24, 7, 10_000)),
        (retention_queries.LIST_OVERDUE, (24, 86_400.0)),
    ],
)
async def test_no_deletion_and_no_figure_reads_a_whole_table(
    database: Database, statement: str, arguments: tuple[int | float, ...]
) -> None:
    """The worker deletes every minute, and each process reads the figures for its metrics."""
    kinds = ", ".join("float8" if isinstance(each, float) else "integer" for each in arguments)
    async with database.transaction() as tx:
        # The tables are empty. PostgreSQL would read an empty table without an index.
        await tx.execute("SET LOCAL enable_seqscan = off")
        await tx.execute("SET LOCAL enable_bitmapscan = off")
        await tx.execute(f"PREPARE examined ({kinds}) AS {statement}")
        values = ", ".join(str(each) for each in arguments)
        plan = "\n".join(row[0] for row in await tx.fetch(f"EXPLAIN EXECUTE examined ({values})"))
        await tx.execute("DEALLOCATE examined")
    for table in ("sessions", "messages", "stream_events", "access_tokens", "one_time_codes"):
        assert f"Seq Scan on {table}" not in plan, plan
