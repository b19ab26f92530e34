"""Checks who is allowed to call an operation, and provides the dependencies `customer`, `mitra` and `any_mitra`.

A handler with the parameter `customer` or `mitra` admits only signed-in people of that role. A handler with the
parameter `any_mitra` also admits a suspended mitra, who reads the notice about the suspension and appeals (T.4). The
value of the parameter is the caller's Identity.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from curhat.accounts.service import Authenticator, SignedIn
from curhat.kit.errors import Suspended
from curhat.kit.http import AnyRequest
from curhat.kit.identity import Identity


async def provide_customer(request: AnyRequest, authenticator: NamedDependency[Authenticator]) -> Identity:
    """Return the customer who sent the request. Raises Unauthenticated, Forbidden."""
    return _admit(request, await authenticator.identify("customer", request.scope))


async def provide_mitra(request: AnyRequest, authenticator: NamedDependency[Authenticator]) -> Identity:
    """Return the mitra who sent the request. Raises Unauthenticated, Forbidden, Suspended."""
    signed_in = await authenticator.identify("mitra", request.scope)
    if signed_in.is_suspended:
        raise Suspended
    return _admit(request, signed_in)


async def provide_any_mitra(request: AnyRequest, authenticator: NamedDependency[Authenticator]) -> Identity:
    """Return the mitra who sent the request, who can be suspended. Raises Unauthenticated, Forbidden."""
    return _admit(request, await authenticator.identify("mitra", request.scope))


def customers_and_mitras_only(
    authenticator: Callable[[], Authenticator],
) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """Make the guard that checks every route.

    The guard refuses a caller of the wrong role before Litestar reads the body. The providers check the caller again,
    because a handler gets its Identity from a provider.
    """

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        named = handler.parsed_fn_signature.parameters
        if "customer" in named:
            await authenticator().identify("customer", connection.scope)
        elif "mitra" in named or "any_mitra" in named:
            await authenticator().identify("mitra", connection.scope)

    return guard


def _admit(request: AnyRequest, signed_in: SignedIn) -> Identity:
    # The ticket endpoint reads this digest, to bind a new ticket to the token of the request.
    request.state["token_digest"] = signed_in.token_digest
    return signed_in.identity
