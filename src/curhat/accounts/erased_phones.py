"""Makes the keyed digest under which the database keeps what a phone number inherits after a deletion (P.4). Pure."""

import hashlib
import hmac
from typing import Final

# How long the database keeps what the same phone number inherits.
KEPT_MONTHS: Final = 12
# _PURPOSE makes the HMAC key differ from every other key that is derived from the secret key.
_PURPOSE: Final = b"curhat erased phones 1"


def digest_of(secret_key: bytes, phone_number: str) -> bytes:
    """Return the digest of an E.164 number. Without the key, nobody can find the number by trying all numbers."""
    key = hmac.digest(secret_key, _PURPOSE, hashlib.sha256)
    return hmac.digest(key, phone_number.encode(), hashlib.sha256)
