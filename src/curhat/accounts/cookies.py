"""How a token is presented: in a header by apps, in a cookie by web clients; and the defence that cookies need.

A browser sends a cookie whoever made it send the request. SameSite=Strict already keeps other sites out; beyond it,
every unsafe request with a cookie, and every socket opened with one, must come from an origin on the list.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from curhat.accounts.schemas import Transport
from curhat.kit.errors import Forbidden
from curhat.kit.identity import AnyRole
from curhat.kit.settings import Settings

if TYPE_CHECKING:
    from litestar.datastructures import Cookie

# An ASGI scope that is only read.
ReadScope = Mapping[str, Any]

_NAMES: Final[dict[AnyRole, str]] = {
    "customer": "curhat_customer",
    "mitra": "curhat_mitra",
    "operator": "curhat_operator",
}
_PATHS: Final[dict[AnyRole, str]] = {
    "customer": "/api/client",
    "mitra": "/api/mitra",
    "operator": "/api/control-center",
}
# Browsers refuse a cookie with this prefix that is not Secure, wherever it came from.
_SECURE_PREFIX: Final = "__Secure-"

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class PresentedToken(msgspec.Struct, frozen=True):
    """A token as it came with a request."""

    token: str
    transport: Transport


def presented_token(scope: ReadScope, role: AnyRole, settings: Settings) -> PresentedToken | None:
    """The token of an HTTP request or of a socket being opened: the bearer header's, else this role's cookie.

    Raises Forbidden for a cookie with an unsafe request that does not come from one of our own pages.
    """
    authorization = _header(scope, b"authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        return PresentedToken(token.strip(), "bearer") if scheme.lower() == "bearer" else None
    from_cookie = _cookie(scope, cookie_name(role, settings))
    if from_cookie is None:
        return None
    is_unsafe = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
    if is_unsafe and not _comes_from_us(scope, settings, if_not_told=False):
        raise Forbidden
    return PresentedToken(from_cookie, "cookie")


def refuse_foreign_page(scope: ReadScope, settings: Settings) -> None:
    """Before a cookie is set: another site must not sign its visitor in as somebody else. Raises Forbidden.

    Whoever tells no origin is no browser, and has no visitor to deceive.
    """
    if not _comes_from_us(scope, settings, if_not_told=True):
        raise Forbidden


def cookie_name(role: AnyRole, settings: Settings) -> str:
    """The name of a role's cookie; with the browsers' prefix for secure cookies in production."""
    return _NAMES[role] if settings.is_development else _SECURE_PREFIX + _NAMES[role]


def token_cookie(role: AnyRole, token: str, max_age_seconds: int, settings: Settings) -> "Cookie":
    """The cookie that carries a token: out of reach for scripts, for this role's paths and this site only."""
    # Here, since it brings the whole framework along: a worker, which sets no cookie, starts half a second sooner.
    from litestar.datastructures import Cookie

    return Cookie(
        key=cookie_name(role, settings),
        value=token,
        path=_PATHS[role],
        max_age=max_age_seconds,
        httponly=True,
        samesite="strict",
        secure=not settings.is_development,
    )


def _comes_from_us(scope: ReadScope, settings: Settings, *, if_not_told: bool) -> bool:
    origin = _header(scope, b"origin")
    if origin is not None:
        return origin in settings.public_origins
    site = _header(scope, b"sec-fetch-site")
    return if_not_told if site is None else site == "same-origin"


def _header(scope: ReadScope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def _cookie(scope: ReadScope, name: str) -> str | None:
    # A browser may spread its cookies over several headers (HTTP/2).
    for key, value in scope["headers"]:
        if key == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                found, _, token = pair.partition("=")
                if found.strip() == name:
                    text: str = token.strip()
                    return text
    return None
