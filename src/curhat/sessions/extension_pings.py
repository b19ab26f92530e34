"""Pings the mitras of pending extensions every second (5.6). Runs in every server process.

Silence approves an extension only if a frame from its mitra came shortly before the deadline. The regular pings are too
rare to get a frame shortly before each deadline. Each round reads from PostgreSQL which mitras must answer an
extension, so no signal is needed. If PostgreSQL does not answer, the round pings the mitras of the last answer. A round
never waits until a cancelled read has ended. While PostgreSQL is frozen, the cancelled read can take half a minute to
end.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog

from curhat.kit.database import DATABASE_AWAY, Database
from curhat.realtime.hub import Hub
from curhat.sessions import queries

log = structlog.get_logger(__name__)

PING_INTERVAL_SECONDS: Final = 1.0
# A round waits READ_TIMEOUT_SECONDS for PostgreSQL before it pings the mitras of the last round.
READ_TIMEOUT_SECONDS: Final = 0.5


class ExtensionPings:
    """The pings of one process."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub
        self._awaited: Sequence[UUID] = ()

    async def run(self) -> None:
        """Ping until cancelled."""
        loop = asyncio.get_running_loop()
        reading = loop.create_task(self._read())
        try:
            while True:
                next_at = loop.time() + PING_INTERVAL_SECONDS
                await asyncio.wait([reading], timeout=READ_TIMEOUT_SECONDS)
                self._hub.ping("mitra", self._awaited)
                await asyncio.sleep(next_at - loop.time())
                if reading.done():
                    reading.result()
                    reading = loop.create_task(self._read())
        finally:
            reading.cancel()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                self._awaited = await queries.list_awaited_mitras(self._database)
        except DATABASE_AWAY as error:
            log.warning("extension.awaited_not_read", error=type(error).__name__)
