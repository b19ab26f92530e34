"""Makes one-time codes and their digests, and defines the limits of one-time codes. Pure."""

import hashlib
import hmac
import secrets
from typing import Final
from uuid import UUID

DIGITS: Final = 6
VALID_SECONDS: Final = 5 * 60
MAX_TRIES_PER_CODE: Final = 5

# Limits per phone number. An attacker has at most 15 guesses per hour at a code with a million possible values.
RESEND_SECONDS: Final = 30
MAX_UNUSED_CODES_PER_HOUR: Final = 5
MAX_CODES_PER_HOUR: Final = 30
MAX_WRONG_TRIES_PER_HOUR: Final = 15

# Makes the key of this HMAC differ from every other key that is derived from the secret key.
_PURPOSE: Final = b"curhat one-time codes 1"


def new_code() -> str:
    """Return six random digits."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"


def digest_of(secret_key: bytes, request_id: UUID, code: str) -> bytes:
    """Return the digest that the database stores for a code.

    The digest belongs to one request for a code. Without the key, nobody can compute the code from the digest.
    """
    key = hmac.digest(secret_key, _PURPOSE, hashlib.sha256)
    return hmac.digest(key, request_id.bytes + code.encode(), hashlib.sha256)


def is_right(secret_key: bytes, request_id: UUID, code: str, digest: bytes) -> bool:
    """Return whether `code` is right. The duration of the comparison does not reveal how many digits are right."""
    return hmac.compare_digest(digest_of(secret_key, request_id, code), digest)
