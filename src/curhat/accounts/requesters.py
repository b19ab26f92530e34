"""Identifies who tries to sign in: a known device of the person, or a stranger at a network address.

Failures are counted separately for each requester. So strangers cannot use up the tries of a known device.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

_ADDRESS_PURPOSE: Final = b"curhat requesters 1"
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Requester:
    """`digest` identifies the device or the address in the rows that count its tries."""

    digest: bytes
    is_known_device: bool


def stranger(secret_key: bytes, address: str) -> Requester:
    """Return the requester for a stranger at a network address.

    The database stores a keyed digest instead of the address.
    """
    key = hmac.digest(secret_key, _ADDRESS_PURPOSE, hashlib.sha256)
    return Requester(hmac.digest(key, address.encode(), hashlib.sha256), is_known_device=False)


def known_device(secret: str) -> Requester:
    """Return the requester who holds the secret of a known device."""
    return Requester(digest_of_secret(secret), is_known_device=True)


def new_device_secret() -> str:
    """Return a device secret of 256 random bits. The device keeps the secret after a sign-out."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def digest_of_secret(secret: str) -> bytes:
    """Return the digest that the database stores for a device secret. A plain hash is enough for 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()
