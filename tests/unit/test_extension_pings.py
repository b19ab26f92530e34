"""Test the pings to mitras who have a pending extension, with and without answers from PostgreSQL."""

import asyncio
import contextlib
from collections.abc import Iterable
from uuid import UUID, uuid4

import pytest

from curhat.sessions import extension_pings
from curhat.sessions.extension_pings import ExtensionPings


class Hub:
    """Records the pinged mitras of each round."""

    def __init__(self) -> None:
        self.rounds: asyncio.Queue[list[UUID]] = asyncio.Queue()

    def ping(self, role: str, user_ids: Iterable[UUID]) -> None:
        assert role == "mitra"
        self.rounds.put_nowait(list(user_ids))


class Database:
    """Answers with these mitras.

    Raises an error while `is_away` is true, and gives no answer while `is_frozen` is true.
    """

    def __init__(self, *mitras: UUID) -> None:
        self.mitras = list(mitras)
        self.is_away = self.is_frozen = False

    async def fetch(self, _query: str) -> list[tuple[UUID]]:
        if self.is_away:
            raise ConnectionRefusedError
        while self.is_frozen:
            # As with asyncpg, a cancelled query ends only after PostgreSQL has answered.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)
        return [(mitra,) for mitra in self.mitras]


@pytest.mark.rule("5.8")
@pytest.mark.parametrize("fault", ["is_away", "is_frozen"])
async def test_the_extension_pings_continue_while_postgresql_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(extension_pings, "READ_TIMEOUT_SECONDS", 0.005)
    monkeypatch.setattr(extension_pings, "PING_INTERVAL_SECONDS", 0.005)
    hub, database = Hub(), Database(uuid4())
    running = asyncio.create_task(ExtensionPings(database, hub).run())  # type: ignore[arg-type]
    assert await hub.rounds.get() == database.mitras
    setattr(database, fault, True)
    for _ in range(3):
        async with asyncio.timeout(5):
            assert await hub.rounds.get() == database.mitras
    setattr(database, fault, False)
    database.mitras = []
    async with asyncio.timeout(5):
        while await hub.rounds.get():
            pass
    running.cancel()
