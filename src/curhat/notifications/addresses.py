"""Decides which endpoints of push services this server is allowed to connect to.

Clients choose the endpoints, so an endpoint could name a host in our own network.
The server checks an endpoint when it saves the subscription, and again at each use. This module resolves the host name
and checks every address of the host. The HTTP client connects only to a checked address. So an attacker gains nothing
by making the name resolve to another address between check and use.
"""

import asyncio
import contextlib
import ipaddress
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_ENDPOINT_CHARACTERS: Final = 1000
RESOLVE_TIMEOUT_SECONDS: Final = 3.0
# This process looks up at most MAX_LOOKUPS_RUNNING names of KNOWN_SERVICES at the same time. The same limit holds for
# all other names together. A lookup occupies its thread until the system's resolver gives up, long after
# RESOLVE_TIMEOUT_SECONDS.
MAX_LOOKUPS_RUNNING: Final = 4
# The push services of the browsers, with their subdomains. Each of these services gets its own places in the outbox. A
# service that is not in KNOWN_SERVICES works too, but all these unknown services together share a few places. The last
# entry is for development, because check_form refuses this name in production.
KNOWN_SERVICES: Final = (
    "fcm.googleapis.com",
    "jmt17.google.com",
    "push.services.mozilla.com",
    "push.apple.com",
    "notify.windows.com",
    "127.0.0.1",
)
# A regular expression for Python and for PostgreSQL that captures the known service of an endpoint.
KNOWN_ENDPOINT: Final = (
    rf"^https?://(?:[a-z0-9-]+\.)*({'|'.join(map(re.escape, KNOWN_SERVICES))})(?::[0-9]+)?/"
)
# IPv6 addresses that contain an IPv4 address for a gateway (RFC 6052).
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class EndpointRefused(PermissionError):
    """This server must not connect to the endpoint.

    The error's text gives the reason, and does not contain the endpoint.
    """


class Addresses(AbstractResolver):
    """Decides which addresses are allowed. In development, `allows_this_machine` allows loopback and http.

    The HTTP client resolves names with this class, so the client connects only to addresses that were checked.
    """

    def __init__(self, *, allows_this_machine: bool) -> None:
        self._allows_this_machine = allows_this_machine
        # The lookup of a name that a client chose can be slow, so separate threads look up such names. The threads that
        # look up our own servers and the known services look up no other names.
        self._known_lookups = ThreadPoolExecutor(MAX_LOOKUPS_RUNNING, "known-push-names")
        self._other_lookups = ThreadPoolExecutor(MAX_LOOKUPS_RUNNING, "other-push-names")

    def check_form(self, endpoint: str) -> str:
        """Check the form of the endpoint's URL. Returns the host. Raises EndpointRefused."""
        is_plain = endpoint.isascii() and endpoint.isprintable()
        if not is_plain or not 1 <= len(endpoint) <= MAX_ENDPOINT_CHARACTERS:
            raise EndpointRefused(f"must be an address of 1 to {MAX_ENDPOINT_CHARACTERS} plain characters")
        try:
            parts = urlsplit(endpoint)
            port = parts.port
        except ValueError:
            raise EndpointRefused("is no address") from None
        host = parts.hostname
        if not host or "@" in parts.netloc or " " in endpoint:
            raise EndpointRefused("is no address")
        literal = _literal(host)
        if literal is not None:
            self.check_address(literal)
        # check_address refuses loopback in production.
        is_loopback = literal is not None and literal.is_loopback
        if parts.scheme != "https" and not (is_loopback and parts.scheme == "http"):
            raise EndpointRefused("must begin with https://")
        if port not in (None, 443) and not is_loopback:
            raise EndpointRefused("must be on the port of https")
        return host

    async def check(self, endpoint: str) -> None:
        """Check the form of the endpoint's URL, and check every address of its host. Raises EndpointRefused.

        Accepts a host name that does not resolve now, because each use resolves and checks the name again.
        """
        host = self.check_form(endpoint)
        try:
            await self.resolve(host)
        except EndpointRefused:
            raise
        except OSError:
            return

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  the client asks for every family
    ) -> list[ResolveResult]:
        """Resolve a host to checked addresses.

        Raises EndpointRefused, or another OSError if the host does not resolve within RESOLVE_TIMEOUT_SECONDS.
        """
        loop = asyncio.get_running_loop()
        is_known = re.match(KNOWN_ENDPOINT, f"https://{host}/") is not None
        lookups = self._known_lookups if is_known else self._other_lookups
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_SECONDS):
                found = await loop.run_in_executor(lookups, look_up)
        except UnicodeError:
            raise EndpointRefused("has a name that cannot be") from None
        resolved = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for family, _, _, _, address in found
        ]
        # If one address is forbidden, refuse the whole name. The name of a real push service has no forbidden
        # address.
        for result in resolved:
            self.check_address(ipaddress.ip_address(result["host"].partition("%")[0]))
        return resolved

    def check_address(self, address: IpAddress) -> None:
        """Raise EndpointRefused if this server is not allowed to connect to the address."""
        inner = _inner(address)
        if self._allows_this_machine and inner.is_loopback:
            return
        if not inner.is_global or inner.is_multicast or inner.is_reserved or inner.is_unspecified:
            raise EndpointRefused("must be on the public internet")

    async def close(self) -> None:
        """Stop looking up further names."""
        for lookups in (self._known_lookups, self._other_lookups):
            lookups.shutdown(wait=False, cancel_futures=True)


def _literal(host: str) -> IpAddress | None:
    """Read a host as an IP address in any notation (127.1, 0x7f000001, …). Return None for a host name."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0])
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def _inner(address: IpAddress) -> IpAddress:
    """Return the IPv4 address inside an IPv6 address (NAT64, Teredo, mapped, 6to4), or else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or address
