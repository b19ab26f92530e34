"""Computes how long an operator's wrong sign-in tries delay the next try. Decision 0072 gives the figures.

Wrong passwords and wrong codes of the second factor are counted separately, so wrong passwords never delay the second
factor. Each known device and each network address has its own count, so a stranger never delays a known device.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from curhat.accounts.delays import Delays, refuse_while_waiting, remaining
from curhat.accounts.requesters import Requester
from curhat.control_center.operators import queries
from curhat.kit.database import Transaction

Factor = Literal["password", "code"]

# For one requester.
OWN_DELAYS: Final[dict[Factor, Delays]] = {
    "password": Delays(free=10, first_seconds=1, max_seconds=5 * 60),
    "code": Delays(free=5, first_seconds=30, max_seconds=3600),
}
# For all strangers together.
STRANGERS_DELAYS: Final[dict[Factor, Delays]] = {
    "password": Delays(free=100, first_seconds=1, max_seconds=60),
    "code": Delays(free=10, first_seconds=30, max_seconds=3600),
}

_EMAIL_PURPOSE: Final = b"curhat operators e-mails 1"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A requester who claims to be the operator with this e-mail."""

    email_digest: bytes
    requester: Requester


def digest_of_email(secret_key: bytes, email: str) -> bytes:
    """Return the digest under which the tries with this e-mail are counted. Perhaps no operator has the e-mail."""
    return hmac.digest(hmac.digest(secret_key, _EMAIL_PURPOSE, "sha256"), email.encode(), hashlib.sha256)


def signed_in_device(token_id: UUID) -> Requester:
    """Return the requester of a signed-in device. Wrong tries at the sign-in never delay this requester."""
    return Requester(token_id.bytes, is_known_device=True)


async def refuse_while_delayed(tx: Transaction, attempt: Attempt, factor: Factor) -> None:
    """Raise TooManyRequests, with the seconds to wait, if earlier wrong tries delay this attempt."""
    requester = attempt.requester
    tries = await queries.count_sign_in_tries(
        tx, email_digest=attempt.email_digest, factor=factor, requester=requester.digest
    )
    strangers_wait = STRANGERS_DELAYS[factor].after(tries.strangers)
    refuse_while_waiting(
        remaining(OWN_DELAYS[factor].after(tries.own), tries.own_age_seconds),
        None if requester.is_known_device else remaining(strangers_wait, tries.strangers_age_seconds),
    )


async def count_try(tx: Transaction, attempt: Attempt, factor: Factor) -> int:
    """Count a wrong try, or a try that is not checked yet. Returns the try's id."""
    return await queries.insert_sign_in_try(
        tx,
        email_digest=attempt.email_digest,
        factor=factor,
        requester=attempt.requester.digest,
        is_known_device=attempt.requester.is_known_device,
    )
