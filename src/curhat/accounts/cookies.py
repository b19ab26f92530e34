"""Reads and writes the tokens of clients. An app sends its token in a header.

A web client sends its token in a cookie, and cookies need protection.

By default, a browser sends a cookie even with a request that a page of another site started. SameSite=Strict stops
this. As a second protection, each unsafe request and each socket with a cookie must come from an origin in
CURHAT_PUBLIC_ORIGINS.
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

# An ASGI scope that is read but not changed.
ReadScope = Mapping[str, Any]

_PATHS: Final[dict[AnyRole, str]] = {
    "customer": "/api/client",
    "mitra": "/api/mitra",
    "operator": "/api/control-center",
}
# A browser accepts a cookie with the prefix `__Secure-` only if the cookie is Secure.
_SECURE_PREFIX: Final = "__Secure-"

# The cookie that contains a known device's secret has `device_` in its name.
_DEVICE: Final = "device_"

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class PresentedToken(msgspec.Struct, frozen=True):
    """A token, and how a request presented it."""

    token: str
    transport: Transport


def presented_token(scope: ReadScope, role: AnyRole, settings: Settings) -> PresentedToken | None:
    """Return the token in the bearer header of a request or socket handshake, or else in this role's cookie.

    Raises Forbidden if an unsafe request with a cookie does not come from one of our own pages.
    """
    authorization = _header(scope, b"authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        return PresentedToken(token.strip(), "bearer") if scheme.lower() == "bearer" else None
    from_cookie = _cookie(scope, cookie_name(role, settings))
    if from_cookie is None:
        return None
    is_unsafe = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
    if is_unsafe and not _comes_from_us(scope, settings, if_unknown=False):
        raise Forbidden
    return PresentedToken(from_cookie, "cookie")


def refuse_foreign_page(scope: ReadScope, settings: Settings) -> None:
    """Raise Forbidden if a page of another site sent this sign-in request.

    The answer to the request would set a cookie, so without this check that page could sign its visitor in as another
    person. A request without an origin does not come from a browser, so this check allows it.
    """
    if not _comes_from_us(scope, settings, if_unknown=True):
        raise Forbidden


def cookie_name(role: AnyRole, settings: Settings, what: str = "") -> str:
    """Return the name of a role's cookie. In production, the name has the prefix for secure cookies."""
    return f"{'' if settings.is_development else _SECURE_PREFIX}curhat_{what}{role}"


def token_cookie(role: AnyRole, token: str, max_age_seconds: int, settings: Settings) -> "Cookie":
    """Return the cookie that contains a token."""
    return _cookie_of(role, cookie_name(role, settings), token, max_age_seconds, settings)


def device_cookie(role: AnyRole, secret: str, max_age_seconds: int, settings: Settings) -> "Cookie":
    """Return the cookie that contains the secret of a known device. The cookie stays after a sign-out."""
    return _cookie_of(role, cookie_name(role, settings, _DEVICE), secret, max_age_seconds, settings)


def presented_device(scope: ReadScope, role: AnyRole, settings: Settings) -> str | None:
    """Return the secret of a known device in this role's cookie."""
    return _cookie(scope, cookie_name(role, settings, _DEVICE))


def _cookie_of(role: AnyRole, name: str, value: str, max_age_seconds: int, settings: Settings) -> "Cookie":
    """Scripts cannot read the cookie.

    A browser sends the cookie only to this role's paths, and only from this site's pages.
    """
    # Import `Cookie` here, because its module loads the whole framework. A worker sets no cookie, and starts half a
    # second sooner without the import.
    from litestar.datastructures import Cookie

    return Cookie(
        key=name,
        value=value,
        path=_PATHS[role],
        max_age=max_age_seconds,
        httponly=True,
        samesite="strict",
        secure=not settings.is_development,
    )


def _comes_from_us(scope: ReadScope, settings: Settings, *, if_unknown: bool) -> bool:
    origin = _header(scope, b"origin")
    if origin is not None:
        return origin in settings.public_origins
    site = _header(scope, b"sec-fetch-site")
    return if_unknown if site is None else site == "same-origin"


def _header(scope: ReadScope, name: bytes) -> str | None:
    return next(iter(_headers(scope, name)), None)


def _headers(scope: ReadScope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _cookie(scope: ReadScope, name: str) -> str | None:
    # Over HTTP/2, a browser can send its cookies in several headers.
    for pair in ";".join(_headers(scope, b"cookie")).split(";"):
        found, _, token = pair.partition("=")
        if found.strip() == name:
            return token.strip()
    return None
