"""Every frame of the socket, in both directions. Each text frame is one JSON object; `op` names its kind.

Client to server: hello, pong, signal. Server to client: welcome, event, ping, signal, error.

How the two sides keep in step
    The client remembers the `epoch` and `seq` of the last event it has applied, and names both in its hello.
    After the welcome come all events after that seq, then live ones, each with a seq one higher than the last.
    A client that sees a higher seq in a ping says hello again. It may do so at any time, and ignores an event
    whose seq it has already applied.
    `resumed: false` means that the client cannot resume: the missed events are not stored any more, or its hello
    named no event of this stream. It fetches `/state`, and applies the events whose seq is higher than the one in
    `/state`.
    A server that must begin anew in the middle of a connection sends such a welcome unasked.
    A frame that cannot be read is answered with `error`, code `validation_failed`, and changes nothing.
Close codes
    4401 signed out; 4408 no hello within 5 s, or no frame for 2 minutes; 4409 too slow, say hello again;
    4413 frame over 64 KiB; 4429 too fast; 1012 the server restarts, come back after a random wait; 1013
    PostgreSQL or Valkey does not answer, come back after a random wait; 1011 a fault of the server.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec

SIGNED_OUT: Final = 4401
TIMED_OUT: Final = 4408
TOO_SLOW: Final = 4409
FRAME_TOO_LARGE: Final = 4413
TOO_FAST: Final = 4429
RESTARTING: Final = 1012
TRY_AGAIN_LATER: Final = 1013
OUR_FAULT: Final = 1011

MAX_FRAME_BYTES: Final = 64 * 1024


class Hello(msgspec.Struct, frozen=True, tag_field="op", tag="hello", forbid_unknown_fields=True):
    """The first frame of every connection: the user's device, and the last event it has applied."""

    device_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    epoch: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    seq: int | None = None


class Pong(msgspec.Struct, frozen=True, tag_field="op", tag="pong", forbid_unknown_fields=True):
    """The answer to a ping. Any frame renews the lease; this one does nothing else."""


class TypingSignal(msgspec.Struct, frozen=True, tag_field="op", tag="signal", forbid_unknown_fields=True):
    """A member of this session is typing. In both directions, never stored; at most one per 2 s is forwarded."""

    type: Literal["typing"]
    session_id: UUID


class Welcome(msgspec.Struct, frozen=True, tag_field="op", tag="welcome"):
    """The answer to a hello. A mitra's also carries `requests`, the open ones."""

    epoch: UUID
    seq: int
    resumed: bool
    server_now: datetime


class Event(msgspec.Struct, frozen=True, tag_field="op", tag="event"):
    """Something happened. `data` is the struct that it is about, as its reader may see it."""

    seq: int | None
    # The name of an EventType; or of an UnsequencedEventType, and then seq is None.
    type: str
    at: datetime
    data: msgspec.Raw


class Ping(msgspec.Struct, frozen=True, tag_field="op", tag="ping"):
    """The client answers with a pong. `seq` is the head of the stream: a client that is behind says hello again."""

    seq: int
    server_now: datetime


class Error(msgspec.Struct, frozen=True, tag_field="op", tag="error"):
    """The client's last frame could not be read. `detail` says why, for the client's developer."""

    code: Literal["validation_failed"]
    detail: str


ClientFrame = Hello | Pong | TypingSignal
ServerFrame = Welcome | Event | Ping | TypingSignal | Error


class UnreadableFrame(ValueError):
    """A frame from the client that the protocol does not have."""


_decoder = msgspec.json.Decoder(ClientFrame)
_encoder = msgspec.json.Encoder()


def read(frame: str | bytes) -> ClientFrame:
    """Read a frame from the client. Raises UnreadableFrame."""
    try:
        decoded: ClientFrame = _decoder.decode(frame)
    except msgspec.DecodeError as error:
        raise UnreadableFrame(str(error)[:200]) from None
    except (RecursionError, UnicodeError):
        raise UnreadableFrame("JSON cannot be read") from None
    return decoded


def write(frame: ServerFrame) -> str:
    """Write a frame for the client, as text."""
    return _encoder.encode(frame).decode()


def write_welcome(welcome: Welcome, extras: Mapping[str, object]) -> str:
    """Write a welcome as text, with the further fields of this user's role."""
    return _encoder.encode({"op": "welcome", **msgspec.structs.asdict(welcome), **extras}).decode()


def is_too_large(frame: str | bytes) -> bool:
    """Whether a frame from the client has more than MAX_FRAME_BYTES."""
    if len(frame) > MAX_FRAME_BYTES:
        return True
    return isinstance(frame, str) and not frame.isascii() and len(frame.encode()) > MAX_FRAME_BYTES
