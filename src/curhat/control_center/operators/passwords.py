"""Operators' passwords, hashed with argon2id. A new password must be long, uncommon and hard to guess.

A sign-in with an unknown e-mail takes as much CPU time as a sign-in with a known e-mail.
"""

import asyncio
import contextlib
import functools
import hashlib
import hmac
import importlib.resources
import re
import secrets
import unicodedata
from collections.abc import Iterator
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from curhat.kit.errors import TooManyRequests, invalid_field

MIN_PASSWORD_CHARACTERS: Final = 12
MAX_PASSWORD_CHARACTERS: Final = 128
# An attacker who knows the account and popular passwords must need at least MIN_GUESSES guesses (zxcvbn).
MIN_GUESSES: Final = 10**8
# The library zxcvbn takes at most 72 characters. If the beginning of a password is hard to guess, the whole password is
# hard to guess.
_MAX_ESTIMATED_CHARACTERS: Final = 72
_MIN_LETTERS_BESIDE_CONTEXT: Final = 6
# Words that an attacker of this service tries first, in addition to the words of the operator's e-mail.
_CONTEXT: Final = (
    "curhat",
    "bestie",
    "mitra",
    "control center",
    "operator",
    "admin",
    "rahasia",
    "indonesia",
    "jakarta",
)

_hasher: Final = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# If no operator has the e-mail, `is_right` compares the password with this hash. Nobody knows a password that has this
# hash. The hash is a constant, because computing the hash would cost every process 120 ms of CPU.
_UNKNOWN_OPERATOR_HASH: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$xzAoquMYqm12rN7/RCx6Gw$UX8lWuooFI7w7bZp1he4/0pydGz+AKDPvJoZlyn1Hzo"
)
# At most MAX_STRANGERS_CHECKS checks of strangers' passwords wait or run at the same time. With MAX_STRANGERS_CHECKS, a
# stranger waits for at most about two seconds.
MAX_STRANGERS_CHECKS: Final = 20


def hashed(password: str, email: str = "", field: str = "password") -> str:
    """Hash a new password for storage.

    Raises ValidationFailed if the password is too short, too long or common. Raises ValidationFailed if somebody who
    knows the operator's e-mail can easily guess the password.
    """
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise invalid_field(
            field, f"must be {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters"
        )
    if _is_common(password, email):
        raise invalid_field(field, "is too easy to guess; choose several words that do not belong together")
    return _hasher.hash(password)


def _is_common(password: str, email: str) -> bool:
    """Return whether the password is common, or is made of known words, patterns or the e-mail."""
    # Import zxcvbn here, because the import takes 60 ms and few processes need zxcvbn.
    from zxcvbn import zxcvbn

    folded = _folded(password)
    if folded in _common_passwords():
        return True
    words = [word for word in re.split(r"[\W_]+", _folded(email)) if len(word) > 1]
    context = [_folded(email), *words, *_CONTEXT]
    estimated = zxcvbn(folded[:_MAX_ESTIMATED_CHARACTERS], user_inputs=context)
    return bool(estimated["guesses"] < MIN_GUESSES) or _is_made_of(context, folded)


def _is_made_of(context: list[str], folded: str) -> bool:
    """Return whether few letters are left when the words of the context are removed from the password."""
    left = folded
    for word in sorted(context, key=len, reverse=True):
        left = left.replace(word, "")
    return left != folded and len(re.sub(r"[\W\d_]+", "", left)) < _MIN_LETTERS_BESIDE_CONTEXT


def _folded(text: str) -> str:
    """Return the text in one form for all spellings: without letter case, and with compatible characters unified."""
    return unicodedata.normalize("NFKC", text).casefold()


@functools.cache
def _common_passwords() -> frozenset[str]:
    listed = importlib.resources.files(__package__).joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in listed.splitlines() if not line.startswith("#"))


def is_right(password: str, password_hash: str | None) -> bool:
    """Return whether a password has this hash.

    `password_hash` is None if no such operator exists. Without a hash, the function returns False, but takes as long as
    with a hash.
    """
    try:
        _hasher.verify(password_hash or _UNKNOWN_OPERATOR_HASH, password)
    except VerificationError:
        return False
    return password_hash is not None


class HashQueue:
    """Computes one hash at a time, in a thread. A hash takes 64 MiB, and 50 ms of CPU that would block the event loop.

    At most `max_checks` checks can wait or run. If `max_checks` is None, any number of checks can wait.
    """

    def __init__(self, max_checks: int | None) -> None:
        self.max_checks = max_checks
        self._checks = 0
        self._place = asyncio.Semaphore(1)

    @contextlib.contextmanager
    def admit_check(self) -> Iterator[None]:
        """Reserve a place in the queue during the block. Raises TooManyRequests if the queue is full."""
        if self.max_checks is not None and self._checks >= self.max_checks:
            raise TooManyRequests(retry_after_seconds=2)
        self._checks += 1
        try:
            yield
        finally:
            self._checks -= 1

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        """Run `is_right`."""
        async with self._place:
            return await asyncio.to_thread(is_right, password, password_hash)

    async def hashed(self, password: str, email: str, field: str) -> str:
        """Run `hashed`."""
        async with self._place:
            return await asyncio.to_thread(hashed, password, email, field)


# Strangers have their own queue, so they never delay an operator who is signed in or shows a known device.
# OPERATORS_HASHES needs no bound, because the wrong passwords of each requester delay the requester's next try.
STRANGERS_HASHES: Final = HashQueue(MAX_STRANGERS_CHECKS)
OPERATORS_HASHES: Final = HashQueue(None)


def generated() -> str:
    """Generate a random password of 144 bits."""
    return secrets.token_urlsafe(18)


def derived(secret_key: bytes, purpose: str) -> str:
    """Derive a password from the key. The same key and purpose always give the same password."""
    digest = hmac.digest(secret_key, f"curhat password 1 {purpose}".encode(), hashlib.sha256)
    return digest.hex()[:24]
