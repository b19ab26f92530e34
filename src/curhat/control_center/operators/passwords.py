"""Operators' passwords: argon2id, and as much work for an e-mail that nobody has."""

import asyncio
import hashlib
import hmac
import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from curhat.kit.errors import ValidationFailed

SHORTEST: Final = 12
LONGEST: Final = 128

_hasher: Final = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# What is compared with when there is no such operator: of a password that was thrown away. Written down, since making
# it takes a processor for 120 ms, in each process that starts.
_NOBODYS: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$xzAoquMYqm12rN7/RCx6Gw$UX8lWuooFI7w7bZp1he4/0pydGz+AKDPvJoZlyn1Hzo"
)
# Each takes 64 MiB: bounds the memory that tries to sign in can take.
_AT_ONCE: Final = 2
_places: Final = asyncio.Semaphore(_AT_ONCE)


def hashed(password: str, field: str = "password") -> str:
    """What is stored of a password. Raises ValidationFailed for one that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValidationFailed(
            errors=[{"field": field, "message": f"must be {SHORTEST} to {LONGEST} characters"}]
        )
    return _hasher.hash(password)


def is_right(password: str, password_hash: str | None) -> bool:
    """Whether this is the password; None, nobody's, is compared all the same and never right."""
    try:
        _hasher.verify(password_hash or _NOBODYS, password)
    except VerificationError:
        return False
    return password_hash is not None


async def is_right_in_thread(password: str, password_hash: str | None) -> bool:
    """`is_right` beside the event loop: it takes a processor for some 50 ms."""
    async with _places:
        return await asyncio.to_thread(is_right, password, password_hash)


async def hashed_in_thread(password: str, field: str = "password") -> str:
    """`hashed` beside the event loop."""
    async with _places:
        return await asyncio.to_thread(hashed, password, field)


def generated() -> str:
    """A password that nobody guesses."""
    return secrets.token_urlsafe(18)


def derived(secret_key: bytes, purpose: str) -> str:
    """A password that only the holder of the key can tell, the same each time."""
    digest = hmac.digest(secret_key, f"curhat password 1 {purpose}".encode(), hashlib.sha256)
    return digest.hex()[:24]
