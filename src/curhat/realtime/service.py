"""Event streams in PostgreSQL.

A stream keeps the events of one user in one role for 24 hours. The stream numbers the events without gaps.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, Transaction
from curhat.kit.identity import Identity, Role
from curhat.kit.signals import to_person
from curhat.realtime import protocol, queries
from curhat.realtime.event_types import StreamEvent
from curhat.realtime.queries import StreamHead

# Limits how long one call of `prune` holds its locks.
MAX_EVENTS_PER_PRUNE = 10_000


class StoredEvent(msgspec.Struct, frozen=True):
    """A stored event. `frame` is the text of the frame that a socket sends for the event."""

    seq: int
    frame: str


class StreamSignal(msgspec.Struct, frozen=True, array_like=True):
    """Tells the processes that hold this person that an event was committed. A signal is a list of these structs.

    The signal contains the frame. So the hub does not read the event from PostgreSQL for a socket that has sent all
    earlier events.
    """

    role: Role
    user_id: UUID
    seq: int
    frame: str


_signal_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_data_encoder = msgspec.json.Encoder()


class EncodedEvents(msgspec.Struct, frozen=True):
    """Events as the SQL function `append_events` takes them. Each list has one element per event."""

    roles: list[Role]
    user_ids: list[UUID]
    types: list[str]
    data: list[str]


def encode(events: Sequence[StreamEvent]) -> EncodedEvents:
    """Encode events. Several events often contain the same struct, and each struct is encoded once."""
    texts: dict[int, str] = {}
    data = []
    for event in events:
        text = texts.get(id(event.data))
        if text is None:
            text = texts[id(event.data)] = _data_encoder.encode(event.data).decode()
        data.append(text)
    return EncodedEvents(
        [event.role for event in events],
        [event.user_id for event in events],
        [event.type for event in events],
        data,
    )


async def append(tx: Transaction, events: Sequence[StreamEvent]) -> None:
    """Write events to their users' streams, and publish them after the commit.

    Call `append` once per transaction, with all events, after the transaction has taken all other locks. `append`
    locks the rows of the streams in (role, user id) order.
    """
    if not events:
        return
    encoded = encode(events)
    rows = await queries.append_events(
        tx, roles=encoded.roles, user_ids=encoded.user_ids, types=encoded.types, data=encoded.data
    )
    publish_encoded(tx, encoded, [(row.seq, row.at) for row in rows])


def publish_encoded(tx: Transaction, encoded: EncodedEvents, places: Sequence[tuple[int, datetime]]) -> None:
    """Publish events after the commit. `places` has each event's number in its stream, and its time."""
    events = zip(encoded.roles, encoded.user_ids, encoded.types, encoded.data, places, strict=True)
    signals = [
        StreamSignal(role, user_id, seq, _frame(seq, event_type, at, text.encode()))
        for role, user_id, event_type, text, (seq, at) in events
    ]
    _signal(tx, signals)


class Appended(msgspec.Struct, frozen=True):
    """An event that a statement of another package has appended with the SQL function `append_events`."""

    event: StreamEvent
    seq: int
    at: datetime


def publish(tx: Transaction, appended: Sequence[Appended]) -> None:
    """Publish appended events after the commit. Consecutive events with the same data are encoded only once."""
    if not appended:
        return
    signals = []
    encoded: tuple[msgspec.Struct | None, bytes] = (None, b"")
    for event, seq, at in ((each.event, each.seq, each.at) for each in appended):
        if encoded[0] is not event.data:
            encoded = (event.data, _data_encoder.encode(event.data))
        signals.append(StreamSignal(event.role, event.user_id, seq, _frame(seq, event.type, at, encoded[1])))
    _signal(tx, signals)


def _signal(tx: Transaction, signals: Sequence[StreamSignal]) -> None:
    """Publish one signal per person after the commit. The signal has the person's events of this transaction."""
    people: dict[Identity, list[StreamSignal]] = {}
    for signal in signals:
        people.setdefault(Identity(signal.role, signal.user_id), []).append(signal)
    for person, own in people.items():
        tx.signal(to_person("stream", person), _signal_encoder.encode(own))


async def read_head(db: Executor, role: Role, user_id: UUID) -> StreamHead:
    """Read the head of a user's stream. Create the stream if it does not exist.

    The head's `seq` is the seq of the last event, or 0 without events.
    To make a snapshot, read the head first, and then the rows that the snapshot shows. Every change that the snapshot
    lacks then has an event after the head. Other events after the head can repeat changes that the snapshot already
    shows.
    """
    head = await queries.find_head(db, role=role, user_id=user_id)
    return head or await queries.begin_stream(db, role=role, user_id=user_id)


async def events_after(
    db: Executor, role: Role, user_id: UUID, seq: int, max_events: int
) -> list[StoredEvent]:
    """Read the stored events after `seq`, in order.

    If pruning has deleted event `seq` + 1, the result begins with a later event.
    """
    rows = await queries.list_events_after(db, role=role, user_id=user_id, seq=seq, max_events=max_events)
    return [
        StoredEvent(seq=row.seq, frame=_frame(row.seq, row.type, row.at, row.data.encode())) for row in rows
    ]


async def blank_message_texts(tx: Transaction, customer_id: UUID, mitra_id: UUID, session_id: UUID) -> None:
    """Remove the text from the stored events about this session's messages."""
    await queries.blank_message_texts(tx, customer_id=customer_id, mitra_id=mitra_id, session_id=session_id)


async def prune(tx: Transaction, max_events: int = MAX_EVENTS_PER_PRUNE) -> int:
    """Delete at most `max_events` of the events that are older than 24 hours, oldest first.

    Returns the number of deleted events.
    """
    return await queries.prune_events(tx, max_events=max_events)


def _frame(seq: int, event_type: str, at: datetime, data: bytes) -> str:
    return protocol.write(protocol.Event(seq=seq, type=event_type, at=at, data=msgspec.Raw(data)))


async def renew_epochs(tx: Transaction) -> int:
    """Give each stream a new epoch, after a restore to an earlier time. Returns the number of streams.

    A device has perhaps seen events that the restore lost. The numbers of the lost events belong to other events from
    now on. With a new epoch, no device can resume its stream, so each device fetches its state again.
    """
    return await queries.renew_epochs(tx)


async def erase(tx: Transaction, role: Role, user_id: UUID) -> bool:
    """Delete the events of a deleted account. Returns False: nothing is left."""
    await queries.delete_stream(tx, role=role, user_id=user_id)
    return False


async def erase_events_about(
    tx: Transaction, role: Role, user_ids: Sequence[UUID], about: UUID, session_ids: Sequence[UUID]
) -> None:
    """Delete those events of these users that name the person `about`, or one of these sessions."""
    await queries.delete_events_about(
        tx, role=role, user_ids=user_ids, about=str(about), session_ids=session_ids
    )
