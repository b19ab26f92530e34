"""Reads and writes the tokens of clients. An app sends its token in a header.

A web client sends its token in a cookie, and cookies need protection.

By default, a browser sends a cookie even with a request that a page of another site started. SameSite=Strict stops
this. As a second protection, each unsafe request and each socket with a cookie must come from an origin of the cookie's
own role (`Settings.origins_of`). The three clients are one site, so SameSite does not keep them apart.

In production, the name of a cookie begins with `__Host-`. A browser accepts a cookie with the prefix `__Host-` only
from the host itself, with Secure, without Domain and with the path /. So no other host can set the cookie. Earlier
versions used the prefix `__Secure-` and the path of the role. If a request has only the cookie of an earlier version,
the server reads this cookie and sends the new cookie. A sign-in still sets both cookies. So neither a deployment nor a
return to the previous version signs anybody out (docs/decisions/0105).
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
_PREFIX: Final = "__Host-"
_OLD_PREFIX: Final = "__Secure-"

# The parts of a cookie's name that distinguish the cookie with the token from the cookie with a known device's secret.
_TOKEN: Final = ""
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
    from_cookie = _value_in(scope, role, _TOKEN, settings)
    if from_cookie is None:
        return None
    is_unsafe = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
    comes_from_us = _comes_from_us if is_unsafe else _may_come_from_us
    if not comes_from_us(scope, role, settings):
        raise Forbidden
    return PresentedToken(from_cookie, "cookie")


def refuse_foreign_page(scope: ReadScope, role: AnyRole, settings: Settings) -> None:
    """Raise Forbidden if a page of another site or role sent a sign-in request whose answer would set a cookie.

    The answer to a sign-in request sets a cookie. Without this check, a page of another site could sign its visitor in
    as another person. A request without an origin does not come from a browser, so this check allows it.
    """
    if not _may_come_from_us(scope, role, settings):
        raise Forbidden


def cookie_name(role: AnyRole, settings: Settings, what: str = _TOKEN) -> str:
    """Return the name of a role's cookie. In production, the name has the prefix for cookies of one host."""
    return f"{'' if settings.is_development else _PREFIX}curhat_{what}{role}"


def token_cookies(role: AnyRole, token: str, max_age_seconds: int, settings: Settings) -> "list[Cookie]":
    """Return the cookies that contain a token: today's cookie, and in production also the previous version's cookie."""
    return _cookies_of(role, _TOKEN, token, max_age_seconds, settings)


def device_cookies(role: AnyRole, secret: str, max_age_seconds: int, settings: Settings) -> "list[Cookie]":
    """Return the cookies that contain the secret of a known device. The cookies stay after a sign-out."""
    return _cookies_of(role, _DEVICE, secret, max_age_seconds, settings)


def presented_device(scope: ReadScope, role: AnyRole, settings: Settings) -> str | None:
    """Return the secret of a known device in this role's cookie."""
    return _value_in(scope, role, _DEVICE, settings)


def renewed_cookies(
    scope: ReadScope, settings: Settings, token_seconds: Mapping[AnyRole, int], device_seconds: int
) -> "list[Cookie]":
    """Return the cookies to send with the answer, if the request has only cookies of the previous version.

    The token's cookie lives for `token_seconds` of its role, and the device's cookie for `device_seconds`. The server
    can end a token before the token's cookie ends.
    """
    if settings.is_development or _OLD_PREFIX not in "".join(_headers(scope, b"cookie")):
        return []
    role = next((role for role, path in _PATHS.items() if scope["path"].startswith(f"{path}/")), None)
    if role is None:
        return []
    renewed = []
    for what, seconds in ((_TOKEN, token_seconds[role]), (_DEVICE, device_seconds)):
        value = _cookie(scope, _old_name(role, what))
        name = cookie_name(role, settings, what)
        if value and _cookie(scope, name) is None:
            renewed.append(_cookie_of(name, "/", value, seconds, settings))
    return renewed


def _cookies_of(
    role: AnyRole, what: str, value: str, max_age_seconds: int, settings: Settings
) -> "list[Cookie]":
    name = cookie_name(role, settings, what)
    if settings.is_development:
        return [_cookie_of(name, _PATHS[role], value, max_age_seconds, settings)]
    return [
        _cookie_of(name, "/", value, max_age_seconds, settings),
        _cookie_of(_old_name(role, what), _PATHS[role], value, max_age_seconds, settings),
    ]


def _old_name(role: AnyRole, what: str) -> str:
    return f"{_OLD_PREFIX}curhat_{what}{role}"


def _value_in(scope: ReadScope, role: AnyRole, what: str, settings: Settings) -> str | None:
    value = _cookie(scope, cookie_name(role, settings, what))
    if value is None and not settings.is_development:
        return _cookie(scope, _old_name(role, what))
    return value


def _cookie_of(name: str, path: str, value: str, max_age_seconds: int, settings: Settings) -> "Cookie":
    """Scripts cannot read the cookie. A browser sends the cookie only to `path`, and only from this site's pages."""
    # Import `Cookie` here, because its module loads the whole framework. A worker sets no cookie, and starts half a
    # second sooner without the import.
    from litestar.datastructures import Cookie

    return Cookie(
        key=name,
        value=value,
        path=path,
        max_age=max_age_seconds,
        httponly=True,
        samesite="strict",
        secure=not settings.is_development,
    )


def _comes_from_us(scope: ReadScope, role: AnyRole, settings: Settings) -> bool:
    """Return whether the request shows that a page of this role's own client sent it."""
    origin = _header(scope, b"origin")
    if origin is not None:
        return origin in settings.origins_of(role)
    return _header(scope, b"sec-fetch-site") == "same-origin"


def _may_come_from_us(scope: ReadScope, role: AnyRole, settings: Settings) -> bool:
    """Return True, except if the headers show that a page of another client or site sent the request.

    A program sends none of these headers.
    """
    if _header(scope, b"origin") is not None:
        return _comes_from_us(scope, role, settings)
    # `none` means that the person has typed the address.
    return _header(scope, b"sec-fetch-site") in (None, "same-origin", "none")


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
