"""Names the person or the known device that sends a request. Each name has a separate count of requests."""

from functools import partial
from typing import Final

import structlog
from valkey.asyncio import Valkey

from curhat.accounts import cookies
from curhat.accounts.requesters import digest_of_secret
from curhat.accounts.service import Authenticator, digest_of_token, find_known_devices
from curhat.accounts.token_lookup import TokenLookup
from curhat.control_center.operators.service import owners_of_tokens
from curhat.kit.asgi import Scope
from curhat.kit.database import DATABASE_AWAY, Database
from curhat.kit.errors import Forbidden, PresenceUnknown
from curhat.kit.identity import AnyRole
from curhat.kit.settings import Settings
from curhat.realtime.tickets import peek_ticket, ticket_in

log = structlog.get_logger(__name__)

_ROLES: Final[dict[str, AnyRole]] = {"client": "customer", "mitra": "mitra", "control-center": "operator"}


class Callers:
    """Finds the signed-in person of a request or socket handshake, or else the known device.

    This class does not check whether the person is allowed to make the request.
    """

    def __init__(
        self, settings: Settings, database: Database, valkey: Valkey, authenticator: Authenticator
    ) -> None:
        self._settings = settings
        self._valkey = valkey
        self._authenticator = authenticator
        self._operators = TokenLookup(partial(owners_of_tokens, database))
        self._devices = TokenLookup(partial(find_known_devices, database))

    async def name_of(self, scope: Scope) -> str | None:
        """Return the name of the person or known device in the counters, or None for a stranger.

        This method finds the secret of a known device only in a cookie, because an app sends its secret in the body.
        While PostgreSQL is away, a person whose token is not cached counts as a stranger.
        """
        _, _, side = scope["path"].partition("/api/")
        role = _ROLES.get(side.partition("/")[0])
        if role is None:
            return None
        try:
            return await self._person_in(role, scope) or await self._known_device_in(role, scope)
        except (Forbidden, PresenceUnknown):
            return None
        except DATABASE_AWAY as error:
            log.warning("callers.not_found", error=type(error).__name__)
            return None

    async def _person_in(self, role: AnyRole, scope: Scope) -> str | None:
        ticket = ticket_in(scope) if scope["type"] == "websocket" else None
        if ticket is not None:
            owner = await peek_ticket(self._valkey, ticket)
            return None if owner is None else f"{owner.identity.role}:{owner.identity.user_id}"
        presented = cookies.presented_token(scope, role, self._settings)
        if presented is None:
            return None
        if role == "operator":
            operator_id = await self._operators.get(digest_of_token(presented.token))
            return None if operator_id is None else f"operator:{operator_id}"
        signed_in = await self._authenticator.authenticate(presented.token)
        if signed_in is None or signed_in.transport != presented.transport:
            return None
        return f"{signed_in.identity.role}:{signed_in.identity.user_id}"

    async def _known_device_in(self, role: AnyRole, scope: Scope) -> str | None:
        secret = cookies.presented_device(scope, role, self._settings)
        digest = None if secret is None else await self._devices.get(digest_of_secret(secret))
        return None if digest is None else f"device:{digest.hex()}"
