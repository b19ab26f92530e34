"""Every frame of the socket, in both directions.

Each text frame is one JSON object, whose `op` is the kind of the frame.
Client to server: hello, pong, signal, send. Server to client: welcome, event, ping, signal, sent, refused, error.

How the client and the server keep in step:
    The client remembers the `epoch` and `seq` of the last event that it has applied. Its hello contains both.
    The server answers with a welcome. Then the server sends all events after the seq in the hello. The seq of each
    event is one higher than the seq of the previous event.
    If a ping has a higher seq than the client has applied, the client says hello again. A client can say hello at any
    time, but at most 5 times in 10 s. A client ignores an event whose seq it has already applied.
    `resumed: false` means that the client cannot resume: the server no longer stores the missed events, the client has
    missed too many, or the hello named no event of this stream. The client then fetches `/state`, and applies the
    events whose seq is higher than the seq in `/state`. If the server cannot continue a stream, it sends a welcome with
    `resumed: false`, although the client did not say hello.
    If the server cannot read a frame, it answers with `error` and the code `validation_failed`, and changes nothing.
Close codes:
    Code 4401: the user is signed out.
    Code 4408: the client sent no hello within 5 s, or no frame for 2 minutes.
    Code 4409: the client reads too slowly. The client connects again and says hello.
    Code 4413: the client sent a frame over 64 KiB.
    Code 4429: the client sends too fast, says hello too often, or is the person's oldest socket of more than 10.
    Code 1007: the client sent a text frame that is not UTF-8.
    Code 1012: the server restarts. The client connects again after a random wait.
    Code 1013: PostgreSQL or Valkey does not answer. The client connects again after a random wait.
    Code 1011: the server has a fault.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec

from curhat.kit.nul import field_with_nul

SIGNED_OUT: Final = 4401
TIMED_OUT: Final = 4408
TOO_SLOW: Final = 4409
FRAME_TOO_LARGE: Final = 4413
TOO_FAST: Final = 4429
NOT_TEXT: Final = 1007
RESTARTING: Final = 1012
TRY_AGAIN_LATER: Final = 1013
OUR_FAULT: Final = 1011
# The server closes a socket with one of these codes before the application sees the frame.
BAD_FRAMES: Final = frozenset({FRAME_TOO_LARGE, TOO_FAST, NOT_TEXT})

MAX_FRAME_BYTES: Final = 64 * 1024


class Hello(msgspec.Struct, frozen=True, tag_field="op", tag="hello", forbid_unknown_fields=True):
    """The first frame of every connection. A hello names the device, and the last event that the device has applied."""

    device_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    epoch: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    seq: int | None = None


class Pong(msgspec.Struct, frozen=True, tag_field="op", tag="pong", forbid_unknown_fields=True):
    """The answer to a ping. Like every client frame, a pong renews the user's lease. A pong has no other effect."""


class TypingSignal(msgspec.Struct, frozen=True, tag_field="op", tag="signal", forbid_unknown_fields=True):
    """A member of this session is typing. Client and server both send this frame.

    The server sends at most one typing signal per 2 s.
    """

    type: Literal["typing"]
    session_id: UUID


class SendMessage(msgspec.Struct, frozen=True, tag_field="op", tag="send", forbid_unknown_fields=True):
    """Sends a chat message. The server answers with `sent` or `refused`, perhaps after answers to later frames.

    The client can repeat the frame, even on another connection or by POST. The server stores the message once.
    """

    session_id: UUID
    client_message_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    text: str
    reply_to_message_id: UUID | None = None


class Sent(msgspec.Struct, frozen=True, tag_field="op", tag="sent"):
    """The message is stored. The sender's devices, including this connection, also get the event `message.created`."""

    client_message_id: str
    message: msgspec.Raw


class Refused(msgspec.Struct, frozen=True, tag_field="op", tag="refused", omit_defaults=True):
    """The message is not stored. `code` and `detail` have the same values as after a refused POST.

    After `service_unavailable`, it is not known whether the message is stored. So the client repeats the frame.
    """

    client_message_id: str
    code: str
    detail: str
    # How long the client waits before it repeats the frame.
    retry_after_seconds: int | None = None


class Welcome(msgspec.Struct, frozen=True, tag_field="op", tag="welcome"):
    """The answer to a hello. A mitra's welcome also contains `requests`: the open requests."""

    epoch: UUID
    seq: int
    resumed: bool
    server_now: datetime


class Event(msgspec.Struct, frozen=True, tag_field="op", tag="event"):
    """A change that concerns the user.

    `data` is the changed object, with the fields that this user is allowed to see.
    """

    seq: int | None
    # The name of an EventType or of an UnsequencedEventType. An unsequenced event has no seq (None).
    type: str
    at: datetime
    data: msgspec.Raw


class Ping(msgspec.Struct, frozen=True, tag_field="op", tag="ping"):
    """Asks for a pong. `seq` is the stream's last event.

    A client that has not applied this event says hello again.
    """

    seq: int
    server_now: datetime


class Error(msgspec.Struct, frozen=True, tag_field="op", tag="error"):
    """The server could not read the client's last frame. `detail` tells the client's developer why."""

    code: Literal["validation_failed"]
    detail: str


ClientFrame = Hello | Pong | TypingSignal | SendMessage
ServerFrame = Welcome | Event | Ping | TypingSignal | Sent | Refused | Error


class UnreadableFrame(ValueError):
    """The client sent a frame that is not part of the protocol."""


_decoder: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)
_encoder = msgspec.json.Encoder()


def read(frame: str | bytes) -> ClientFrame:
    """Read a frame from the client. Raises UnreadableFrame."""
    try:
        decoded = _decoder.decode(frame)
        nul = field_with_nul(frame)
    except msgspec.DecodeError as error:
        raise UnreadableFrame(str(error)[:200]) from None
    except (RecursionError, UnicodeError):
        raise UnreadableFrame("JSON cannot be read") from None
    # A text with NUL is refused like any other text that cannot be stored (`Refused`).
    if nul is not None and not (isinstance(decoded, SendMessage) and nul == "text"):
        raise UnreadableFrame(f"{nul} contains the character NUL")
    return decoded


class _Dated(msgspec.Struct):
    """The part of an event's frame that says when the event happened."""

    at: datetime


_dated_decoder = msgspec.json.Decoder(_Dated)


def time_of_event(frame: str) -> datetime:
    """Return the time in the frame of an event."""
    return _dated_decoder.decode(frame).at


def write(frame: ServerFrame) -> str:
    """Write a frame for the client, as text."""
    return _encoder.encode(frame).decode()


def write_welcome(welcome: Welcome, extras: Mapping[str, object]) -> str:
    """Write a welcome as text. `extras` are the further fields that the user's role needs."""
    return _encoder.encode({"op": "welcome", **msgspec.structs.asdict(welcome), **extras}).decode()


def size_bytes(frame: str | bytes) -> int:
    """Return how many bytes a frame takes on the network."""
    return len(frame) if isinstance(frame, bytes) or frame.isascii() else len(frame.encode())
