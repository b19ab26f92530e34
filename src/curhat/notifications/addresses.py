"""Where a push may be sent. Clients choose the endpoints, so an endpoint must not lead into this server's own
network.

An endpoint is checked when its subscription is saved, and again at each use. This module resolves the name and checks
every address found. The HTTP client connects only to a checked address. So an attacker gains nothing by changing the
name between check and use.
"""

import asyncio
import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_ENDPOINT_CHARACTERS: Final = 1000
RESOLVE_TIMEOUT_SECONDS: Final = 3.0
# IPv6 addresses that wrap an IPv4 address for a gateway (RFC 6052).
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class EndpointRefused(Exception):
    """This server sends no push to the endpoint. The text says why, and does not contain the endpoint."""


class Addresses:
    """Decides which endpoints may be called.

    For development and tests, `allows_this_machine` allows loopback and http.
    """

    def __init__(self, *, allows_this_machine: bool) -> None:
        self._allows_this_machine = allows_this_machine

    def check_form(self, endpoint: str) -> None:
        """Check the endpoint's text. Raises EndpointRefused."""
        if (
            not 1 <= len(endpoint) <= MAX_ENDPOINT_CHARACTERS
            or not endpoint.isascii()
            or not endpoint.isprintable()
        ):
            raise EndpointRefused(f"must be an address of 1 to {MAX_ENDPOINT_CHARACTERS} plain characters")
        try:
            parts = urlsplit(endpoint)
            port = parts.port
        except ValueError:
            raise EndpointRefused("is no address") from None
        host = parts.hostname
        if not host or parts.username is not None or parts.password is not None or " " in endpoint:
            raise EndpointRefused("is no address")
        literal = _literal(host)
        if literal is not None:
            self.check_address(literal)
        if self._allows_this_machine and literal is not None and literal.is_loopback:
            if parts.scheme not in ("http", "https"):
                raise EndpointRefused("must begin with https://")
            return
        if parts.scheme != "https":
            raise EndpointRefused("must begin with https://")
        if port not in (None, 443):
            raise EndpointRefused("must be on the port of https")

    async def check(self, endpoint: str) -> None:
        """Check the text. Also check that the name resolves to public addresses only. Raises EndpointRefused.

        If a name does not resolve now, it is accepted, because it is resolved and checked again at each use.
        """
        self.check_form(endpoint)
        host = urlsplit(endpoint).hostname
        assert host is not None
        if _literal(host) is None:
            try:
                await self.resolve(host, 443)
            except OSError:
                return

    async def resolve(self, host: str, port: int) -> list[tuple[int, str]]:
        """Resolve a name to checked pairs (family, address).

        Raises OSError, and EndpointRefused for a bad address.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_SECONDS):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise EndpointRefused("has a name that cannot be") from None
        addresses: list[tuple[int, str]] = []
        for family, _, _, _, address in found:
            # If one address of a host name is not allowed, refuse the whole name. The name of a real push service has
            # no such address.
            self.check_address(ipaddress.ip_address(str(address[0]).partition("%")[0]))
            addresses.append((family, str(address[0])))
        return addresses

    def check_address(self, address: IpAddress) -> None:
        """Raise EndpointRefused unless this address is public."""
        inner = _inner(address)
        if self._allows_this_machine and inner.is_loopback:
            return
        if not inner.is_global or inner.is_multicast or inner.is_reserved or inner.is_unspecified:
            raise EndpointRefused("must be on the public internet")


class CheckedResolver(AbstractResolver):
    """The HTTP client's resolver. The client connects to the addresses that it returns, and to no others."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve to checked addresses. Raises OSError, which the client treats as a name that does not resolve."""
        try:
            found = await self._addresses.resolve(host, port)
        except EndpointRefused as refusal:
            raise OSError(str(refusal)) from refusal
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=its_family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for its_family, address in found
            if family in (socket.AF_UNSPEC, its_family)
        ]

    async def close(self) -> None:
        """Do nothing: no connection is open."""


def _literal(host: str) -> IpAddress | None:
    """Return the address that a host part contains, in any notation (127.1, 0x7f000001, …).

    Return None for a name.
    """
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
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
