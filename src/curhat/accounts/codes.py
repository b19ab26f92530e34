"""One-time codes: how they are made, how they are stored, and the limits on them. Pure."""

import hashlib
import hmac
import secrets
from typing import Final
from uuid import UUID

DIGITS: Final = 6
VALID_SECONDS: Final = 5 * 60
TRIES_A_CODE: Final = 5

# Per phone. A guesser who does all that these allow finds one code in a million with 15 tries an hour.
RESEND_SECONDS: Final = 30
UNUSED_CODES_AN_HOUR: Final = 5
CODES_AN_HOUR: Final = 30
WRONG_TRIES_AN_HOUR: Final = 15

# Keeps this use of the secret key apart from every other one.
_PURPOSE: Final = b"curhat one-time codes 1"


def new_code() -> str:
    """Six random digits."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"


def digest_of(secret_key: bytes, request_id: UUID, code: str) -> bytes:
    """What is stored of a code: useless without the key, and good for one request only."""
    key = hmac.digest(secret_key, _PURPOSE, hashlib.sha256)
    return hmac.digest(key, request_id.bytes + code.encode(), hashlib.sha256)


def is_right(secret_key: bytes, request_id: UUID, code: str, digest: bytes) -> bool:
    """Whether this is the code, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(digest_of(secret_key, request_id, code), digest)
