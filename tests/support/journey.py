"""Brings a test to its first state with steps through the production services."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from curhat.journeys import searching
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import BusinessError
from curhat.pairing import service as pairing
from curhat.sessions.schemas import MitraSession

WINDOW_SECONDS = 60


async def open_blast(database: Database, payment_id: UUID, mitra_ids: list[UUID]) -> UUID:
    """Open a blast to these mitras for a confirmed payment. Returns its id."""
    async with database.transaction() as tx:
        return await pairing.open_blast(tx, payment_id, WINDOW_SECONDS, mitra_ids)


async def somebody(database: Database) -> list[UUID]:
    """Return a list with the id of one mitra who can take a customer. Makes the mitra if no such mitra exists."""
    found = await database.fetchval("SELECT id FROM mitras WHERE can_take_customer ORDER BY id LIMIT 1")
    if found is None:
        found = await database.fetchval(
            """
            WITH person AS (INSERT INTO people (phone_number) VALUES ('+6281399999999') RETURNING id)
            INSERT INTO mitras (id, display_name, online, max_customers)
            SELECT id, 'Kak Siapa', true, 20 FROM person RETURNING id
            """
        )
    return [found]


async def request_of(database: Database, pairing_id: UUID, mitra_id: UUID) -> UUID:
    """Return the id of a mitra's request."""
    request_id: UUID = await database.fetchval(
        "SELECT id FROM requests WHERE pairing_id = $1 AND mitra_id = $2", pairing_id, mitra_id
    )
    return request_id


async def accept(database: Database, mitra_id: UUID, request_id: UUID) -> MitraSession:
    """Accept a request in a separate transaction."""
    async with database.transaction() as tx:
        return (await searching.accept(tx, mitra_id, request_id)).session


async def reject(
    database: Database, mitra_id: UUID, request_id: UUID, others: list[UUID] | None = None
) -> None:
    """Reject a request in a separate transaction. The argument `others` has the other mitras who can be asked."""
    async with database.transaction() as tx:
        await pairing.reject(tx, request_id, mitra_id, others or [])


async def outcome(step: Awaitable[object]) -> str:
    """Await the step. Returns `done`, or the code of the error."""
    try:
        await step
    except BusinessError as error:
        return error.code
    return "done"


async def in_own_transaction(database: Database, step: Callable[[Transaction], Awaitable[object]]) -> str:
    """Run a step in a separate transaction. Returns `done`, or the code of the error."""

    async def run() -> None:
        async with database.transaction() as tx:
            await step(tx)

    return await outcome(run())


class Latch:
    """A handler for a pause point. A task that reaches the pause point waits until the test opens this latch."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def __call__(self) -> None:
        """Report that a task has reached the pause point, and wait."""
        self.reached.set()
        await self._opened.wait()

    def open(self) -> None:
        """Let the waiting task continue."""
        self._opened.set()


async def wait_for_lock(database: Database, waiting: int = 1) -> None:
    """Return when at least `waiting` connections of the database wait for a lock."""
    async with asyncio.timeout(10):
        while True:
            count = await database.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if count >= waiting:
                return
            await asyncio.sleep(0)
