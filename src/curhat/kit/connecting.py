"""Connects to the one PostgreSQL server that can write, and notices when that server goes dark.

A server goes dark when its machine or its network fails. A dark server neither answers nor refuses. Without a time
limit, a connection to a dark server hangs for minutes.

Guarantees:
    Each host of the URL has its own HOST_CONNECT_TIMEOUT_SECONDS, so a dark host delays the try of the next host only
    briefly.
    The host that was most recently able to write is tried first.
    The kernel ends a connection to a dark server within DARK_TIMEOUT_MS and one keepalive probe. This limit also holds
    for a connection that is idle or waits for a long statement.
Relies on:
    asyncpg, and Linux's TCP_USER_TIMEOUT. If a connection goes through a proxy such as HAProxy or PgBouncer, the proxy
    must notice a dark server. The module kit/database.py notices a server that acknowledges packets and never answers.
"""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

# How long one host can take to accept a connection, authenticate the user, and report whether the host can write.
HOST_CONNECT_TIMEOUT_SECONDS: Final = 2.0
# The kernel ends a connection if the server acknowledges neither data nor a keepalive probe for DARK_TIMEOUT_MS.
DARK_TIMEOUT_MS: Final = 4_000
# The kernel sends the first probe after KEEPALIVE_IDLE_SECONDS of silence, and then one probe per
# KEEPALIVE_INTERVAL_SECONDS.
KEEPALIVE_IDLE_SECONDS: Final = 2
KEEPALIVE_INTERVAL_SECONDS: Final = 1
KEEPALIVE_MAX_PROBES: Final = 3

DEFAULT_PORT: Final = 5432

# After one of these errors, another host is perhaps able to write.
_TRIES_NEXT_HOST: Final = (
    OSError,
    asyncpg.exceptions.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.TargetServerAttributeNotMatched,
)


class Host(NamedTuple):
    """A host of the URL. `name` is a host name, an address, or the folder of a Unix socket."""

    name: str
    port: int


def hosts_of(url: str) -> list[Host]:
    """Return the hosts that a URL names, in order: `postgresql://h1:5432,h2:5433/db`, or `?host=h1,h2&port=5432`.

    Raises ValueError if a port is no number, or if the numbers of hosts and ports differ.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    listed = parts.netloc.rpartition("@")[2]
    specs = [unquote(spec) for spec in (listed or query.get("host", [""])[-1]).split(",") if spec]
    ports = [int(port) for port in query.get("port", [str(DEFAULT_PORT)])[-1].split(",")]
    if len(ports) == 1:
        ports *= len(specs)
    return [_host(spec, port) for spec, port in zip(specs, ports, strict=True)]


def _host(spec: str, port: int) -> Host:
    if spec.startswith("/"):
        return Host(spec, port)
    if spec.startswith("["):
        name, _, own_port = spec[1:].partition("]")
        own_port = own_port.removeprefix(":")
    else:
        name, _, own_port = spec.partition(":")
    return Host(name, int(own_port) if own_port else port)


if TYPE_CHECKING:
    _AsyncpgConnection = asyncpg.Connection[asyncpg.Record]
else:
    _AsyncpgConnection = asyncpg.Connection


class HostConnection(_AsyncpgConnection):
    """A connection that knows its host, and counts the warnings of PostgreSQL.

    If a COMMIT gives up waiting for its synchronous standby, the COMMIT succeeds with a warning. This class counts the
    warnings itself, because listeners of asyncpg would have to be added and removed for every transaction.
    """

    __slots__ = ("host", "warnings_heard")

    host: Host
    warnings_heard: int

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.warnings_heard = 0

    def _process_log_message(self, fields: Mapping[str, str], last_query: str | None) -> None:
        # "V" is the severity in English, whatever the language of the server.
        if fields.get("V") == "WARNING":
            self.warnings_heard += 1
        super()._process_log_message(fields, last_query)  # type: ignore[misc]


async def connect_to_writer(url: str) -> HostConnection:
    """Open one connection outside a pool, to the first host that can write. Raises the errors of Connector.connect."""
    return await Connector(url).connect(url, connection_class=HostConnection)


class Connector:
    """Opens connections for one pool. `connect` has the signature that asyncpg's pool wants."""

    def __init__(self, url: str) -> None:
        self._hosts = hosts_of(url)

    async def connect(self, dsn: str | None = None, **options: Any) -> HostConnection:
        """Connect to the first host that can write.

        If no host can write, raises the error of the last host. This error is TargetServerAttributeNotMatched if the
        last host answered. An error that every host would repeat, such as a wrong password, is raised immediately.
        """
        unreachable: Exception | None = None
        for host in tuple(self._hosts):
            try:
                connection: HostConnection = await asyncpg.connect(
                    dsn,
                    host=host.name,
                    port=host.port,
                    timeout=HOST_CONNECT_TIMEOUT_SECONDS,
                    target_session_attrs=SessionAttribute.read_write,
                    **options,
                )
            except _TRIES_NEXT_HOST as error:
                unreachable = error
            else:
                connection.host = host
                notice_dark_server(connection)
                self._try_first(host)
                return connection
        assert unreachable is not None  # A URL names at least one host.
        raise unreachable

    def leave(self, host: Host) -> bool:
        """Try this silent host last from now on.

        Changes nothing and returns False if the host is not first in the order.
        """
        if self._hosts[0] != host:
            return False
        self._hosts = [*self._hosts[1:], host]
        return True

    def _try_first(self, host: Host) -> None:
        if self._hosts[0] != host:
            self._hosts = [host, *(other for other in self._hosts if other != host)]


def notice_dark_server(connection: HostConnection) -> None:
    """Make the kernel end this connection when the server's machine no longer acknowledges anything."""
    # asyncpg has no public name for its socket.
    transport = connection._transport  # type: ignore[attr-defined]  # noqa: SLF001
    opened = transport.get_extra_info("socket")
    if opened.family == socket.AF_UNIX:
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS),
        (socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS),
        (socket.TCP_KEEPCNT, KEEPALIVE_MAX_PROBES),
        (socket.TCP_USER_TIMEOUT, DARK_TIMEOUT_MS),
    ):
        opened.setsockopt(socket.IPPROTO_TCP, option, value)
