"""Streams in PostgreSQL: what happened to one user in one role, numbered without gaps, kept for 24 h."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from curhat.kit.database import Database, Transaction, load_queries
from curhat.kit.identity import Role
from curhat.realtime import protocol
from curhat.realtime.event_types import StreamEvent

SQL = load_queries(__file__)

# Bounds how long one pruning holds its locks.
PRUNE_LIMIT = 10_000


class Head(msgspec.Struct, frozen=True):
    """Where a stream stands: `seq` is the number of its last event, 0 before the first."""

    epoch: UUID
    seq: int


class Look(msgspec.Struct, frozen=True):
    """A head, and the time at which it was read."""

    head: Head
    server_now: datetime


class StoredEvent(msgspec.Struct, frozen=True):
    """An event of a stream as a socket sends it: `frame` is the text of the whole frame."""

    seq: int
    frame: str


class StreamSignal(msgspec.Struct, frozen=True, array_like=True):
    """To every process: this event was committed. Carries the frame: a socket in step need not read it.

    All events of one transaction go out as one list.
    """

    role: Role
    user_id: UUID
    seq: int
    frame: str


_signal_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_data_encoder = msgspec.json.Encoder()


async def append(tx: Transaction, events: Sequence[StreamEvent]) -> None:
    """Write events to their users' streams, and publish them after the commit.

    Locks the streams' rows in order: call it once in a transaction, with all events, after all other locks.
    """
    if not events:
        return
    # One struct often goes to several users; it is encoded once.
    texts: dict[int, str] = {}
    data = []
    for event in events:
        text = texts.get(id(event.data))
        if text is None:
            text = texts[id(event.data)] = _data_encoder.encode(event.data).decode()
        data.append(text)
    rows = await tx.fetch(
        SQL.append,
        [event.role for event in events],
        [event.user_id for event in events],
        [event.type for event in events],
        data,
    )
    signals = [
        StreamSignal(
            role=event.role,
            user_id=event.user_id,
            seq=row["seq"],
            frame=_frame(row["seq"], event.type, row["at"], text),
        )
        for event, text, row in zip(events, data, rows, strict=True)
    ]
    tx.signal("stream", _signal_encoder.encode(signals))


async def head(tx: Transaction, role: Role, user_id: UUID) -> Head:
    """Where this user's stream stands; begins it when there is none.

    For a snapshot, ask before reading the rest: an event that the snapshot already shows may come again, and
    one that it does not show always comes.
    """
    return (await look(tx, role, user_id)).head


async def look(database: Database | Transaction, role: Role, user_id: UUID) -> Look:
    """The head and the time; begins the stream when there is none."""
    row = await database.fetchrow(SQL.head, role, user_id)
    if row is None:
        row = await database.fetchrow(SQL.begin_stream, role, user_id)
        assert row is not None  # The statement gives the row it made, or the one it found.
    return Look(head=Head(epoch=row["epoch"], seq=row["head"]), server_now=row["server_now"])


async def events_after(
    database: Database | Transaction, role: Role, user_id: UUID, seq: int, limit: int
) -> list[StoredEvent]:
    """What is stored after `seq`, in order. The first may be later than `seq` + 1: the rest was pruned."""
    rows: list[asyncpg.Record] = await database.fetch(SQL.events_after, role, user_id, seq, limit)
    return [
        StoredEvent(seq=row["seq"], frame=_frame(row["seq"], row["type"], row["at"], row["data"]))
        for row in rows
    ]


async def prune(tx: Transaction, limit: int = PRUNE_LIMIT) -> int:
    """Delete the oldest events of more than 24 h, at most `limit`; the answer is how many. Numbers go on."""
    return int((await tx.execute(SQL.prune, limit)).removeprefix("DELETE "))


def _frame(seq: int, event_type: str, at: datetime, data: str) -> str:
    return protocol.write(protocol.Event(seq=seq, type=event_type, at=at, data=msgspec.Raw(data.encode())))
