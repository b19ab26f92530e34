"""Operators' passwords, hashed with argon2id.

A sign-in with an unknown e-mail takes as much CPU time as a sign-in with a known e-mail.
"""

import asyncio
import hashlib
import hmac
import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from curhat.kit.errors import invalid_field

MIN_PASSWORD_CHARACTERS: Final = 12
MAX_PASSWORD_CHARACTERS: Final = 128

_hasher: Final = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# If no operator has the e-mail, `is_right` compares the password with this hash. Nobody knows a password that has
# this hash. The hash is a constant, because every process would need 120 ms of CPU to compute it.
_UNKNOWN_OPERATOR_HASH: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$xzAoquMYqm12rN7/RCx6Gw$UX8lWuooFI7w7bZp1he4/0pydGz+AKDPvJoZlyn1Hzo"
)
# Computing a hash takes 64 MiB. This number limits the memory that concurrent sign-ins take.
_MAX_CONCURRENT_HASHES: Final = 2
_places: Final = asyncio.Semaphore(_MAX_CONCURRENT_HASHES)


def hashed(password: str, field: str = "password") -> str:
    """Hash a password for storage. Raises ValidationFailed if the password is too short or too long."""
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise invalid_field(
            field, f"must be {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters"
        )
    return _hasher.hash(password)


def is_right(password: str, password_hash: str | None) -> bool:
    """Return whether a password has this hash.

    Without a hash (no such operator), take the same time and return False.
    """
    try:
        _hasher.verify(password_hash or _UNKNOWN_OPERATOR_HASH, password)
    except VerificationError:
        return False
    return password_hash is not None


async def is_right_in_thread(password: str, password_hash: str | None) -> bool:
    """Run `is_right` in a thread. `is_right` takes 50 ms of CPU, and would block the event loop for that time."""
    async with _places:
        return await asyncio.to_thread(is_right, password, password_hash)


async def hashed_in_thread(password: str, field: str = "password") -> str:
    """Run `hashed` in a thread."""
    async with _places:
        return await asyncio.to_thread(hashed, password, field)


def generated() -> str:
    """Generate a random password of 144 bits."""
    return secrets.token_urlsafe(18)


def derived(secret_key: bytes, purpose: str) -> str:
    """Derive a password from the key. The same key and purpose always give the same password."""
    digest = hmac.digest(secret_key, f"curhat password 1 {purpose}".encode(), hashlib.sha256)
    return digest.hex()[:24]
