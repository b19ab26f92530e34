"""The functions of higher packages that the hub and the sockets call. `app/wiring.py` provides them."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from curhat.kit.asgi import Scope
from curhat.kit.identity import Identity, Role
from curhat.realtime.protocol import Refused, SendMessage, Sent


class SocketIdentity(msgspec.Struct, frozen=True):
    """A signed-in user, and the digest of the user's token.

    When the token is revoked, the hub closes the user's socket.
    """

    identity: Identity
    token_digest: bytes


class HubHooks(msgspec.Struct, frozen=True, kw_only=True):
    """The functions that the hub calls. These functions exist before the hub, so they must not use the hub."""

    # Takes the tokens of the hub's sockets. Returns the digests of the tokens that are revoked or expired, or whose
    # owner is suspended. The hub calls this function every 3 s. So no socket stays open because of a lost signal.
    signed_out: Callable[[Sequence[SocketIdentity]], Awaitable[Collection[bytes]]]
    # Returns the other member of this session. The devices of the other member show that the user is typing. Returns
    # None if the session is not running or the user is not a member of the session.
    typing_recipient: Callable[[Identity, UUID], Awaitable[Identity | None]]


class SocketHooks(Protocol):
    """The functions that each socket calls. If a function raises an error, the endpoint closes the socket."""

    async def authenticate(self, role: Role, scope: Scope) -> SocketIdentity | None:
        """Return the user who opens this socket. The bearer header, the cookie or `?ticket=` identifies the user.

        A cookie needs an allowed Origin. Returns None if the handshake identifies no signed-in user of
        `role`. Returns None for a ticket whose token was revoked after the ticket was issued.
        Raises PresenceUnknown when Valkey, which stores the tickets, does not answer.
        """

    async def opened(self, identity: Identity, connection_id: str) -> None:
        """Handle the first welcome of a connection. Does not raise when Valkey is away."""

    def frame_received(self, identity: Identity, connection_id: str) -> None:
        """Handle a frame from a welcomed connection. The function runs for every frame, so it must be quick."""

    def send_message(
        self, identity: Identity, frame: SendMessage, answer: Callable[[Sent | Refused], None]
    ) -> None:
        """Store a chat message. Later call `answer` once with the outcome. Does not wait and does not raise."""

    async def closed(self, identity: Identity, connection_id: str, *, may_come_back: bool) -> None:
        """Handle the end of a welcomed connection. Does not raise when Valkey is away.

        The server calls this function when the client disconnects, or when the server begins to close the connection.
        The call does not wait for a client that does not answer the close frame. `may_come_back` is false if the user
        was signed out.
        """

    async def welcome_extras(self, identity: Identity) -> Mapping[str, object]:
        """Return the further fields of this user's welcome. Reads the current values at each call."""
