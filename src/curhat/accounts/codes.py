"""Makes one-time codes and their digests, and defines the limits of one-time codes. Pure."""

import hashlib
import hmac
import secrets
from typing import Final
from uuid import UUID

from curhat.accounts.delays import Delays

DIGITS: Final = 6
VALID_SECONDS: Final = 5 * 60
MAX_TRIES_PER_CODE: Final = 5

# The wait between two codes to one phone number. The number of codes limits the number of guesses, because each code
# allows five. So no wrong try ever refuses somebody else's code. Decision 0072 computes what these limits allow.
RESEND_SECONDS: Final = 30
# For one requester, after codes that were sent and not used within 24 hours.
REQUESTER_DELAYS: Final = Delays(free=5, first_seconds=RESEND_SECONDS, max_seconds=3600)
# For all strangers together. One stranger alone never gets this far: the requester's own delay stops it before.
STRANGERS_DELAYS: Final = Delays(free=35, first_seconds=RESEND_SECONDS, max_seconds=3600)
# Limits what one person costs who signs in again and again.
MAX_USED_CODES_PER_HOUR: Final = 30

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


def own_wait(unused: int) -> float:
    """Return how long a requester waits after the last of `unused` codes that it asked for and did not use."""
    return max(RESEND_SECONDS, REQUESTER_DELAYS.after(unused))
