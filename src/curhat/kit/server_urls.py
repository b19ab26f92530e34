"""Checks the URLs of PostgreSQL and Valkey, and whether other machines could read or use the connection."""

import ipaddress
import re
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

# Production refuses the RISKS of a server on another machine. CURHAT_ALLOW_INSECURE names the risks that are accepted.
RISKS: Final = {
    "postgresql-plain-text": "sends passwords and chats over the network without TLS; right is ?sslmode=verify-full",
    "postgresql-no-password": "names no password; right is postgresql://user:password@host/curhat",
    "valkey-plain-text": "sends chats over the network without TLS; right is such as valkeys://:password@host:6379/0",
    "valkey-no-password": "names no password; right is such as valkeys://:password@host:6379/0",
}

# asyncpg also accepts `prefer` and `allow`. With `prefer` or `allow`, an attacker on the network can turn TLS off.
_SURE_OF_TLS: Final = frozenset({"require", "verify-ca", "verify-full"})
_VERIFIED: Final = frozenset({"verify-ca", "verify-full"})
_HOST: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]\s/]+)(?::(?P<port>\d{1,5}))?")


class Login(NamedTuple):
    """The user, the password and the database of a URL. A part that the URL leaves out is None."""

    user: str | None
    password: str | None
    database: str | None


def check_database_url(text: str) -> str:
    """Return the text. A URL can name several hosts: postgresql://user:password@host1:5432,host2:5432/curhat.

    Raises ValueError, with an example of a valid URL.
    """
    parts = _split(text)
    named = _netloc_hosts(parts)
    hosts = named if named is not None else []
    if (
        parts.scheme not in ("postgresql", "postgres")
        or named is None
        or not (hosts or _query(parts, "host"))
    ):
        raise ValueError(
            "right is such as postgresql://user:password@host:5432/curhat, or with host1:5432,host2:5432"
        )
    return text


def check_valkey_url(text: str) -> str:
    """Return the text. Raises ValueError, with examples of valid URLs."""
    parts = _split(text)
    named = _netloc_hosts(parts)
    reachable = parts.path if parts.scheme == "unix" else named is not None and len(named) == 1
    if parts.scheme not in ("valkey", "valkeys", "redis", "rediss", "unix") or not reachable:
        raise ValueError("right is such as valkey://host:6379/0, valkeys://… (TLS) or unix:///path/to/socket")
    return text


def database_risks(url: str) -> list[str]:
    """Return the RISKS of a URL of PostgreSQL. A connection that stays on this machine has no risk."""
    parts = _split(url)
    if all(map(_stays_here, _database_hosts(parts))):
        return []
    risks = []
    if _query(parts, "sslmode") not in _SURE_OF_TLS:
        risks.append("postgresql-plain-text")
    # A client certificate, or a file with passwords, also proves who connects.
    if not (database_login(url).password or _query(parts, "sslcert") or _query(parts, "passfile")):
        risks.append("postgresql-no-password")
    return risks


def valkey_risks(url: str) -> list[str]:
    """Return the RISKS of a URL of Valkey. A connection that stays on this machine has no risk."""
    parts = _split(url)
    if parts.scheme == "unix" or all(map(_stays_here, _netloc_hosts(parts) or [])):
        return []
    risks = []
    if parts.scheme not in ("valkeys", "rediss"):
        risks.append("valkey-plain-text")
    if not (parts.password or _query(parts, "password") or _query(parts, "ssl_certfile")):
        risks.append("valkey-no-password")
    return risks


def verifies_database_certificate(url: str) -> bool:
    """Return whether the connection to PostgreSQL stays on this machine, or checks the server's certificate."""
    parts = _split(url)
    return all(map(_stays_here, _database_hosts(parts))) or _query(parts, "sslmode") in _VERIFIED


def database_login(url: str) -> Login:
    """Return the user, the password and the database of a URL of PostgreSQL."""
    parts = _split(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return Login(
        unquote(user) or _query(parts, "user"),
        unquote(password) or _query(parts, "password"),
        unquote(parts.path.lstrip("/")) or _query(parts, "dbname") or _query(parts, "database"),
    )


def _split(text: str) -> SplitResult:
    """Split a URL. If the text is no URL, all parts are empty."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


def _netloc_hosts(parts: SplitResult) -> list[str] | None:
    """Return the hosts before the path. Return None if a host is malformed."""
    netloc = parts.netloc.rpartition("@")[2]
    hosts = []
    for text in netloc.split(",") if netloc else []:
        found = _HOST.fullmatch(text)
        if found is None or int(found["port"] or 1) not in range(1, 65_536):
            return None
        hosts.append(found["host"].strip("[]"))
    return hosts


def _database_hosts(parts: SplitResult) -> list[str]:
    return (_netloc_hosts(parts) or []) + [host for host in (_query(parts, "host") or "").split(",") if host]


def _query(parts: SplitResult, name: str) -> str | None:
    values = parse_qs(parts.query).get(name)
    return values[-1] if values else None


def _stays_here(host: str) -> bool:
    """Return whether a host is this machine: localhost, a loopback address, or the folder of a socket."""
    if host == "localhost" or host.startswith("/"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
