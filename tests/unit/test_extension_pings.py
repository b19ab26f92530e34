"""Test the pings to the mitras of pending extensions, while PostgreSQL works and while it does not answer."""

import asyncio
from collections.abc import Iterable
from uuid import UUID, uuid4

import pytest

from curhat.sessions import extension_pings
from curhat.sessions.extension_pings import ExtensionPings


class Hub:
    """Keeps whom each round pinged."""

    def __init__(self) -> None:
        self.rounds: asyncio.Queue[list[UUID]] = asyncio.Queue()

    def ping(self, role: str, user_ids: Iterable[UUID]) -> None:
        assert role == "mitra"
        self.rounds.put_nowait(list(user_ids))


class Database:
    """Answers with these mitras, or fails while `is_away`."""

    def __init__(self, *mitras: UUID) -> None:
        self.mitras = list(mitras)
        self.is_away = False

    async def fetch(self, _query: str) -> list[tuple[UUID]]:
        if self.is_away:
            raise ConnectionRefusedError
        return [(mitra,) for mitra in self.mitras]


@pytest.mark.rule("5.8")
async def test_the_pings_go_on_while_postgresql_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension_pings, "PING_INTERVAL_SECONDS", 0.005)
    hub, database = Hub(), Database(uuid4())
    running = asyncio.create_task(ExtensionPings(database, hub).run())  # type: ignore[arg-type]
    assert await hub.rounds.get() == database.mitras
    database.is_away = True
    for _ in range(3):
        assert await hub.rounds.get() == database.mitras
    database.is_away, database.mitras = False, []
    async with asyncio.timeout(5):
        while await hub.rounds.get():
            pass
    running.cancel()
