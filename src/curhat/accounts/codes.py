"""One-time codes: how they are made, how they are stored, and the limits on them. Pure."""

import hashlib
import hmac
import secrets
from typing import Final
from uuid import UUID

DIGITS: Final = 6
VALID_SECONDS: Final = 5 * 60
MAX_TRIES_PER_CODE: Final = 5

# Limits per phone. With all of them used, an attacker has 15 guesses per hour at a code with a million possibilities.
RESEND_SECONDS: Final = 30
MAX_UNUSED_CODES_PER_HOUR: Final = 5
MAX_CODES_PER_HOUR: Final = 30
MAX_WRONG_TRIES_PER_HOUR: Final = 15

# Keeps the key of this HMAC different from every other key that is derived from the secret key.
_PURPOSE: Final = b"curhat one-time codes 1"


def new_code() -> str:
    """Return six random digits."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"


def digest_of(secret_key: bytes, request_id: UUID, code: str) -> bytes:
    """Return the stored digest of a code. It is useless without the key, and valid for one request only."""
    key = hmac.digest(secret_key, _PURPOSE, hashlib.sha256)
    return hmac.digest(key, request_id.bytes + code.encode(), hashlib.sha256)


def is_right(secret_key: bytes, request_id: UUID, code: str, digest: bytes) -> bool:
    """Return whether `code` is right. The duration of the comparison does not reveal how many digits are right."""
    return hmac.compare_digest(digest_of(secret_key, request_id, code), digest)
