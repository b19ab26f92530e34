"""Makes the start of a server in the test's process cheap.

All servers of the process share some parts, and the module makes these parts only once.

Hundreds of tests start a server. Without this module, each start would build the API, read the web clients and load the
certificates again. Each check of an operator's password would take 0.1 s of processor time.
"""

import functools
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
from argon2 import PasswordHasher
from litestar import Litestar

from curhat.app import asgi, static_files
from curhat.app.api import build_api
from curhat.app.wiring import Services
from curhat.control_center.operators import passwords

# What production uses.
REAL_HASHER: Final = passwords._hasher
REAL_UNKNOWN_OPERATOR_HASH: Final = passwords._UNKNOWN_OPERATOR_HASH
_CHEAP_HASHER: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class _Api:
    """An API that several servers use, one after another.

    The attribute `services` belongs to the server that uses the API now.
    """

    def __init__(self, *, development: bool) -> None:
        self.services: Services | None = None
        self.development = development
        self.application = build_api(self._services, development=development)

    def _services(self) -> Services:
        assert self.services is not None, "no server uses this API"
        return self.services


_apis: Final[list[_Api]] = []


def _build_or_reuse_api(services: Callable[[], Services], *, development: bool) -> Litestar:
    free = (api for api in _apis if api.services is None and api.development is development)
    api = next(free, None)
    if api is None:
        api = _Api(development=development)
        _apis.append(api)
    api.services = services()
    return api.application


def release_api(services: Services) -> None:
    """Release the API that a stopped server used with these services, so that another server can use the API."""
    for api in _apis:
        if api.services is services:
            api.services = None


@functools.cache
def certificates() -> ssl.SSLContext:
    """The certificates for every HTTP client of this process."""
    return httpx.create_ssl_context()


def make_starts_cheap() -> None:
    """Replace the expensive parts of a start in this process."""
    real_read_build = static_files._read_build

    @functools.cache
    def read_build(folder: Path, origins: tuple[tuple[str, tuple[str, ...]], ...]) -> Any:
        return real_read_build(folder, dict(origins))

    def read_build_once(folder: Path, origins: Mapping[str, tuple[str, ...]]) -> Any:
        if folder != static_files.web_folder():
            return real_read_build(folder, origins)
        return read_build(folder, tuple(origins.items()))

    asgi.build_api = _build_or_reuse_api  # type: ignore[attr-defined]
    static_files._read_build = read_build_once
    passwords._hasher = _CHEAP_HASHER  # type: ignore[misc]
    passwords._UNKNOWN_OPERATOR_HASH = _CHEAP_HASHER.hash("nobody has this password")  # type: ignore[misc]
