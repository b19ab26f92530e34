"""Where a push may be sent: endpoints come from clients, and must not make this server talk to its own network.

Checked when a subscription is saved and again when it is used. Names are resolved here, every address found is
checked, and the connection is made to an address that was checked: a name that changes in between helps nobody.
"""

import asyncio
import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

ENDPOINT_CHARACTERS: Final = 1000
RESOLVE_SECONDS: Final = 3.0
# IPv6 that only wraps an IPv4 address for a gateway (RFC 6052).
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class EndpointRefused(Exception):
    """No push goes to this endpoint. Says why, without repeating it."""


class Addresses:
    """Which endpoints may be called. `allows_this_machine` is for development and tests: its plain http, too."""

    def __init__(self, *, allows_this_machine: bool) -> None:
        self._allows_this_machine = allows_this_machine

    def check_form(self, endpoint: str) -> None:
        """Raise EndpointRefused for what can be no endpoint, as far as its text tells."""
        if (
            not 1 <= len(endpoint) <= ENDPOINT_CHARACTERS
            or not endpoint.isascii()
            or not endpoint.isprintable()
        ):
            raise EndpointRefused(f"must be an address of 1 to {ENDPOINT_CHARACTERS} plain characters")
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
        """`check_form`, and that its name, if it resolves now, resolves to public addresses only.

        A name that does not resolve is no offence: it is resolved, and checked, again at each use.
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
        """The addresses of a name as (family, address), all checked. Raises OSError, EndpointRefused."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise EndpointRefused("has a name that cannot be") from None
        addresses: list[tuple[int, str]] = []
        for family, _, _, _, address in found:
            # One bad address among good ones is refused with all of them: nobody of good will has one.
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
    """What the HTTP client asks for a name's addresses: it connects to what this answers, and to nothing else."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises OSError: the client takes it as a name that cannot be resolved."""
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
        """Nothing is open."""


def _literal(host: str) -> IpAddress | None:
    """The address that stands in place of a name, however it is written (127.1, 0x7f000001, …)."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def _inner(address: IpAddress) -> IpAddress:
    """The IPv4 address inside an IPv6 one that leads there through a gateway; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or address
