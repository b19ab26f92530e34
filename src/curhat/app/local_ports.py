"""Checks local ports: whether a port is free, which process uses it, and the HTTP status of a URL."""

import errno
import http.client
import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from curhat.kit.settings import PREFIX


def port_problem(host: str, port: int) -> str | None:
    """Return None if a process can listen at this address. If no process can listen, return the reason and a remedy."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            other = f"choose another port with {PREFIX}PORT"
            if error.errno == errno.EADDRINUSE:
                return f"port {port} is in use by {_port_holder(port)}; end that, or {other}"
            return f"{host}:{port} cannot be listened at ({error.strerror}); {other}"
    return None


def listening_hosts(port: int) -> list[str]:
    """Return the addresses of this machine at which a process listens on this port.

    For a process that listens at every address, the result contains 127.0.0.1 or ::1.
    """
    hosts = {str(_reachable(listener.address)) for listener in _listeners(port)}
    return sorted(hosts)


class _Listener(NamedTuple):
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    inode: str


def _listeners(port: int) -> Iterator[_Listener]:
    """Read the sockets that listen on this port from the kernel's tables."""
    listening = "0A"
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                columns = line.split()
                address, _, number = columns[1].partition(":")
                if columns[3] == listening and int(number, 16) == port:
                    # The kernel prints each group of 32 bits in the byte order of the machine.
                    words = struct.unpack(f">{len(address) // 8}I", bytes.fromhex(address))
                    packed = struct.pack(f"={len(words)}I", *words)
                    yield _Listener(ipaddress.ip_address(packed), columns[9])


def _reachable(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        return ipaddress.IPv6Address("::1") if address.is_unspecified else address
    return ipaddress.IPv4Address("127.0.0.1") if address.is_unspecified else address


def _port_holder(port: int) -> str:
    sockets = {f"socket:[{listener.inode}]" for listener in _listeners(port)}
    for entry in Path("/proc").iterdir():
        # A process can end before this loop reads the process's entry. The entries of other users' processes are not
        # readable.
        with suppress(OSError):
            if entry.name.isdigit() and any(
                str(link.readlink()) in sockets for link in (entry / "fd").iterdir()
            ):
                return f"process {entry.name} ({(entry / 'comm').read_text().strip()})"
    return "a process of another user"


def http_status(url: str) -> str:
    """Send a GET. Return the HTTP status of the answer, or the name of the error.

    Do not use urllib here, because urllib can send the request to a proxy.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", parts.path)
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
