"""The guard of the Control Center: a caller needs a valid token, a second factor and the operation's permission.

If somebody else has seen an operator's password, the operator can only change the password or sign out.

If an operation under /api/control-center names no permission, the guard refuses every caller.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from curhat.control_center.operators import service
from curhat.control_center.operators.errors import PasswordChangeRequired, TotpEnrolmentRequired
from curhat.control_center.operators.permissions import Permission
from curhat.control_center.operators.service import SignedInOperator
from curhat.kit.database import Database
from curhat.kit.errors import Forbidden, Unauthenticated
from curhat.kit.settings import Settings

PREFIX: Final = "/api/control-center/"
_NEEDS: Final = "needs"
_BEFORE_CHANGE: Final = "before_password_change"
_OPERATOR: Final = "operator"
_NOTHING: Final = "nothing"


def needs(permission: Permission) -> dict[str, Any]:
    """Declare which permission an operation needs: `opt=needs("decide")`."""
    return {_NEEDS: permission}


# Declares that an operator who must first change the password is allowed to call the operation.
BEFORE_PASSWORD_CHANGE: Final = {_NEEDS: "own_account", _BEFORE_CHANGE: True}

# Declares that everybody is allowed to call the operation. Used for signing in.
OPEN: Final = {_NEEDS: _NOTHING}


def needed_by(handler: BaseRouteHandler) -> str | None:
    """Return the permission that an operation declares, or None for an operation without a permission."""
    found: str | None = handler.opt.get(_NEEDS)
    return found


def operators_only(
    database: Callable[[], Database], settings: Callable[[], Settings]
) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """Make the guard of all routes.

    The guard checks a request to the Control Center before Litestar reads the body.
    """

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        # The framework answers OPTIONS itself, and its answer contains only the path's methods.
        if not connection.scope["path"].startswith(PREFIX) or connection.scope.get("method") == "OPTIONS":
            return
        needed = needed_by(handler)
        if needed == _NOTHING:
            return
        operator = await service.identify(database(), settings(), connection.scope)
        if needed is None or not operator.may(needed):
            raise Forbidden
        if operator.must_change_password and not handler.opt.get(_BEFORE_CHANGE):
            raise PasswordChangeRequired
        # In development, an operator needs only the password that `make up` prints, so that new developers can look
        # around.
        if needed != "own_account" and not operator.totp_enrolled and not settings().is_development:
            raise TotpEnrolmentRequired
        connection.state[_OPERATOR] = operator

    return guard


async def provide_operator(request: Request[Any, Any, Any]) -> SignedInOperator:
    """Return the operator whom the guard admitted. Raises Unauthenticated on a route without the guard."""
    operator: SignedInOperator | None = request.state.get(_OPERATOR)
    if operator is None:
        raise Unauthenticated
    return operator
