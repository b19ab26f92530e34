"""The functions of higher packages that the hub and the sockets call. `app/wiring.py` provides them."""

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
    """The functions that the hub calls. They exist before the hub, so they must not need it."""

    # Returns the digests of the tokens that are no longer valid: revoked or expired, or the owner is suspended. The
    # hub asks every 3 s about the tokens of its sockets, so that no socket stays open after a lost signal.
    signed_out: Callable[[Sequence[SocketIdentity]], Awaitable[Collection[bytes]]]
    # Returns the other member of this running session, who is shown that this user is typing. Returns None if the
    # session does not run or the user is not a member.
    typing_recipient: Callable[[Identity, UUID], Awaitable[Identity | None]]


class SocketHooks(Protocol):
    """The functions that each socket calls. If one of them raises an error, the socket is closed."""

    async def authenticate(self, role: Role, scope: Scope) -> SocketIdentity | None:
        """Return the user who opens this socket, by bearer header, by cookie (with an Origin check) or by `?ticket=`.

        Returns None if nobody is signed in with `role`, or if the token of a ticket was revoked since. Raises
        PresenceUnknown when Valkey, which stores the tickets, does not answer.
        """

    async def opened(self, identity: Identity, connection_id: str) -> None:
        """Handle the first welcome of a connection. Does not raise when Valkey is away."""

    def frame_received(self, identity: Identity, connection_id: str) -> None:
        """Handle a frame from a welcomed connection. Runs for every frame, so it must be quick."""

    async def closed(self, identity: Identity, connection_id: str) -> None:
        """Handle the end of a welcomed connection. Does not raise when Valkey is away."""

    async def welcome_extras(self, identity: Identity) -> Mapping[str, object]:
        """Return the further fields of this user's welcome. Reads them now, not from an earlier answer."""
