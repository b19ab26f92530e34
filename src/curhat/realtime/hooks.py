"""The functions that sockets need from higher packages. `app/wiring.py` provides these functions."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from curhat.kit.asgi import Scope
from curhat.kit.identity import Identity, Role


class SocketIdentity(msgspec.Struct, frozen=True):
    """A signed-in user, and the digest of the token that admits them. Revoking the token closes the socket."""

    identity: Identity
    token_digest: bytes


class HubHooks(msgspec.Struct, frozen=True, kw_only=True):
    """Functions that the hub calls.

    The hub is created before their owners, so these functions must not need the hub.
    """

    # Returns the tokens (by digest) that no longer admit their owner, because they are revoked or expired or the
    # owner is suspended. The hub asks every 3 s about the tokens of its sockets, so that no socket stays open after a
    # lost signal.
    signed_out: Callable[[Sequence[SocketIdentity]], Awaitable[Collection[bytes]]]
    # Returns the user who is shown that this user types: the other member of this running session. Returns None if
    # the user is not a member of the session.
    typing_recipient: Callable[[Identity, UUID], Awaitable[Identity | None]]


class SocketHooks(Protocol):
    """The sockets call these. If one raises, the socket concerned is closed."""

    async def authenticate(self, role: Role, scope: Scope) -> SocketIdentity | None:
        """Return who opens this socket: by bearer header, by cookie (with an Origin check), or by `?ticket=`.

        Returns None if the opener may not open it. A ticket's token may have been revoked since the ticket was
        issued, so check the token as well. Raises PresenceUnknown when a ticket cannot be looked up.
        """

    async def opened(self, identity: Identity, connection_id: str) -> None:
        """This connection said its first hello and was welcomed. Does not raise when Valkey is away."""

    def frame_received(self, identity: Identity, connection_id: str) -> None:
        """A frame came from an opened connection. Called for every frame, so it must be quick."""

    async def closed(self, identity: Identity, connection_id: str) -> None:
        """An opened connection has ended. Does not raise when Valkey is away."""

    async def welcome_extras(self, identity: Identity) -> Mapping[str, object]:
        """Return further fields of this user's welcome: the current open items, read after the call began."""
