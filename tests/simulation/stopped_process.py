"""Simulates a process that stops (SIGSTOP) in the middle of a transaction while other processes continue.

The step of the stopped process is a task that waits inside a transaction. If another step needs a lock of this
transaction, the step gives up after a short time. In production, the step would wait longer. If PostgreSQL has not
ended the transaction (idle_in_transaction_session_timeout), the stopped process commits when it continues.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from curhat.kit.database import Database, Transaction
from curhat.kit.errors import BusinessError
from curhat.kit.pause_points import set_pause_point
from curhat.kit.signals import SignalSink
from curhat.payments.gateway import GatewayUnknown
from tests.simulation.extension_decisions import Heard

# The time for which another step waits for the locks of the stopped process.
LOCK_TIMEOUT = "20ms"


class StoppableDatabase(Database):
    """The pool that all processes of one schedule share. One of these processes can stop before a commit."""

    def __init__(self, database: Database, sink: SignalSink) -> None:
        super().__init__(database.pool, sink, database.connector)
        self.stopped: StoppedProcess | None = None

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[Transaction]:
        """See Database. While a process is stopped, every other transaction waits only briefly for locks."""
        async with super().transaction(snapshot=snapshot) as tx:
            stopped = self.stopped
            if stopped is not None and not stopped.is_current_task():
                await tx.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            yield tx
            if stopped is not None and stopped.is_current_task():
                await stopped.arrive(tx)


class StoppedProcess:
    """A step that stops just before its first commit. A worker's step can also stop just after claiming a deadline."""

    def __init__(self, name: str, step: Callable[[], Awaitable[str | None]], *, after_claim: bool) -> None:
        self.name = name
        # After a claim, the process has locked only a row of `deadlines`. The step of a person must never wait for a
        # row of `deadlines`.
        self.holds_only_deadlines = after_claim
        # The answer of Presence at the time when the process stopped.
        self.heard: Heard | None = None
        self._after_claim = after_claim
        self._arrived = asyncio.Event()
        self._continue = asyncio.Event()
        self._ended: Exception | None = None
        self._task = asyncio.create_task(self._outcome(step))

    async def _outcome(self, step: Callable[[], Awaitable[str | None]]) -> str | None:
        try:
            return await step()
        except BusinessError as error:
            return f"refused: {error.code}"
        except GatewayUnknown:
            return "the gateway does not answer"
        except asyncpg.ConnectionDoesNotExistError:
            return "its transaction was ended"

    def is_current_task(self) -> bool:
        """Return whether the calling code runs in the stopped process."""
        return asyncio.current_task() is self._task

    async def run_until_it_stops(self) -> bool:
        """Run the step. Returns False if the step ended without a transaction in which it could stop."""

        async def claimed() -> None:
            if self.is_current_task():
                await self._stop()

        if self._after_claim:
            set_pause_point("deadline.claimed", claimed)
        waiting = asyncio.create_task(self._arrived.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        set_pause_point("deadline.claimed", None)
        return not self._task.done()

    async def arrive(self, _tx: Transaction) -> None:
        """Stop before the commit, unless the process has already stopped."""
        if not self._after_claim:
            await self._stop()

    async def _stop(self) -> None:
        if not self._arrived.is_set():
            self._arrived.set()
            await self._continue.wait()
            if self._ended is not None:
                raise self._ended

    async def run_to_its_end(self, *, ended_by_database: bool = False) -> str | None:
        """Let the process continue. Returns its outcome.

        With `ended_by_database`, PostgreSQL has rolled back the transaction, and the next statement fails.
        """
        if ended_by_database:
            self._ended = asyncpg.ConnectionDoesNotExistError("ended while the process was stopped")
        self._continue.set()
        return await self._task
