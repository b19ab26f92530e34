"""What the sockets need from the rooms above. `app/wiring.py` fills it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from curhat.kit.asgi import Scope
from curhat.kit.identity import Identity, Role


class SocketIdentity(msgspec.Struct, frozen=True):
    """A signed-in person, and the digest of the token that says so: revoking the token closes the socket."""

    identity: Identity
    token_digest: bytes


class SocketHooks(Protocol):
    """Called by the sockets. Whatever one raises closes the socket concerned."""

    async def authenticate(self, role: Role, scope: Scope) -> SocketIdentity | None:
        """Who opens this socket: by bearer header, by cookie (with an Origin check), or by `?ticket=`.

        None: nobody that may. A ticket's token may have been revoked since: check it as the other two.
        Raises PresenceUnknown when a ticket cannot be looked up.
        """

    async def signed_out(self, held: Sequence[SocketIdentity]) -> Collection[bytes]:
        """Which of these tokens (by digest) no longer admit their owner: revoked, expired, suspended.

        Asked every 3 s with what the process holds, so that a lost signal leaves no socket open.
        """

    async def opened(self, identity: Identity, connection_id: str) -> None:
        """This connection said its first hello, and was welcomed. Does not raise when Valkey is away."""

    def frame_received(self, identity: Identity, connection_id: str) -> None:
        """A frame came from a connection that is opened. Quick: called for every frame."""

    async def closed(self, identity: Identity, connection_id: str) -> None:
        """A connection that was opened is gone. Does not raise when Valkey is away."""

    async def welcome_extras(self, identity: Identity) -> Mapping[str, object]:
        """Further fields of this user's welcome: what is open now, read after the call began."""

    async def typing_recipient(self, identity: Identity, session_id: UUID) -> Identity | None:
        """Who is to see that `identity` types: the other side of a running session; None: not theirs."""
