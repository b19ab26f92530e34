"""What the sockets need from the packages above. `app/wiring.py` provides it."""

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
    """Functions that the hub calls. It exists before the objects that need it, so these must not need the hub."""

    # Which of these tokens (by digest) no longer admit their owner: revoked, expired, suspended. Asked every 3 s about
    # what the process holds, so that a lost signal leaves no socket open.
    signed_out: Callable[[Sequence[SocketIdentity]], Awaitable[Collection[bytes]]]
    # Who sees that this user types: the other side of this running session. None: the session is not theirs.
    typing_recipient: Callable[[Identity, UUID], Awaitable[Identity | None]]


class SocketHooks(Protocol):
    """The sockets call these. If one raises, the socket concerned is closed."""

    async def authenticate(self, role: Role, scope: Scope) -> SocketIdentity | None:
        """Who opens this socket: by bearer header, by cookie (with an Origin check), or by `?ticket=`.

        Returns None for nobody who may. A ticket's token may have been revoked since the ticket was issued, so check
        it as well. Raises PresenceUnknown when a ticket cannot be looked up.
        """

    async def opened(self, identity: Identity, connection_id: str) -> None:
        """This connection said its first hello and was welcomed. Does not raise when Valkey is away."""

    def frame_received(self, identity: Identity, connection_id: str) -> None:
        """A frame came from an opened connection. Called for every frame, so it must be quick."""

    async def closed(self, identity: Identity, connection_id: str) -> None:
        """An opened connection has ended. Does not raise when Valkey is away."""

    async def welcome_extras(self, identity: Identity) -> Mapping[str, object]:
        """Further fields of this user's welcome: what is open now, read after the call began."""
