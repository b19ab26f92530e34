"""Who may call an operation: the providers of the dependencies `customer` and `mitra`.

A handler that names one of them is for signed-in people of that role only, and gets an Identity.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from curhat.accounts.service import Authenticator, SignedIn
from curhat.kit.errors import Suspended
from curhat.kit.identity import Identity

AnyRequest = Request[Any, Any, Any]


async def provide_customer(request: AnyRequest, authenticator: NamedDependency[Authenticator]) -> Identity:
    """The customer who asks. Raises Unauthenticated, Forbidden."""
    return _note(request, await authenticator.identify("customer", request.scope))


async def provide_mitra(request: AnyRequest, authenticator: NamedDependency[Authenticator]) -> Identity:
    """The mitra who asks. Raises Unauthenticated, Forbidden, Suspended."""
    signed_in = await authenticator.identify("mitra", request.scope)
    if signed_in.is_suspended:
        raise Suspended
    return _note(request, signed_in)


def strangers_first(
    authenticator: Callable[[], Authenticator],
) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """A guard for every route: who may not call an operation is told so before anything of the body is read.

    Beside the providers, not instead of them: what a handler gets is decided there.
    """

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        named = handler.parsed_fn_signature.parameters
        if "customer" in named:
            await authenticator().identify("customer", connection.scope)
        elif "mitra" in named:
            await authenticator().identify("mitra", connection.scope)

    return guard


def _note(request: AnyRequest, signed_in: SignedIn) -> Identity:
    # A socket's ticket is bound to the token that it was asked for with.
    request.state["token_digest"] = signed_in.token_digest
    return signed_in.identity
