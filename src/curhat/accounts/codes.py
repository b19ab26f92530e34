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

# The shortest wait between two codes of one requester to one phone number. Each code allows five guesses, so a limit on
# codes also limits the guesses. So wrong tries of one person never block another person's code. Decision 0072 computes
# what these limits allow.
RESEND_SECONDS: Final = 30
# The delays of one requester, which grow with the number of its unused codes in the last 24 hours.
REQUESTER_DELAYS: Final = Delays(free=5, first_seconds=RESEND_SECONDS, max_seconds=3600)
# The delays that all strangers together cause for one phone number. A single stranger never reaches STRANGERS_DELAYS,
# because the stranger reaches REQUESTER_DELAYS first.
STRANGERS_DELAYS: Final = Delays(free=35, first_seconds=RESEND_SECONDS, max_seconds=3600)
# Limits the cost of the codes of one person who signs in repeatedly.
MAX_USED_CODES_PER_HOUR: Final = 30

# _PURPOSE makes the HMAC key for codes differ from every other key that is derived from the secret key.
_PURPOSE: Final = b"curhat one-time codes 1"


def new_code() -> str:
    """Return six random digits."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"


def digest_of(secret_key: bytes, request_id: UUID, code: str) -> bytes:
    """Return the digest that the database stores for a code.

    The digest is valid for one code request only. Without the secret key, nobody can compute the code from the digest.
    """
    key = hmac.digest(secret_key, _PURPOSE, hashlib.sha256)
    return hmac.digest(key, request_id.bytes + code.encode(), hashlib.sha256)


def is_right(secret_key: bytes, request_id: UUID, code: str, digest: bytes) -> bool:
    """Return whether `code` is right. The duration of the comparison does not reveal how many digits are right."""
    return hmac.compare_digest(digest_of(secret_key, request_id, code), digest)


def own_wait(unused: int) -> float:
    """Return how many seconds a requester with `unused` unused codes waits after its latest code."""
    return max(RESEND_SECONDS, REQUESTER_DELAYS.after(unused))
