"""The states of pairings and requests, a pairing's allowed steps, and the failure tags. This module does no I/O."""

from typing import Literal, get_args

PairingKind = Literal["blast", "targeted"]
PairingStatus = Literal["open", "matched", "failed"]

# The allowed steps. The trigger pairings_allowed_steps contains the same steps as this set. A test compares
# both.
PAIRING_STEPS: frozenset[tuple[PairingStatus, PairingStatus]] = frozenset(
    {("open", "matched"), ("open", "failed")}
)

# Before you add a tag, write a decision record.
FailureTag = Literal[
    "no_mitra_available",
    "all_mitras_rejected",
    "targeted_mitra_offline",
    "targeted_mitra_rejected",
    "targeted_mitra_timeout",
    "payment_session_expired",
    "customer_cancelled",
]
ALL_TAGS: frozenset[str] = frozenset(get_args(FailureTag))

# The fallback is the offer of a blast under the same payment, after a targeted pairing failed (3.5).
FallbackStatus = Literal["open", "taken", "declined", "expired"]

# After a failure with one of these tags, the service offers a fallback (3.5). The database has a copy of this list.
OFFERS_A_FALLBACK: frozenset[FailureTag] = frozenset(
    {"targeted_mitra_offline", "targeted_mitra_rejected", "targeted_mitra_timeout"}
)
# After a failure with one of these tags, the fallback does not ask the chosen mitra again (3.9). After
# `targeted_mitra_offline`, the fallback can ask the chosen mitra again, because this mitra has perhaps returned.
LEAVES_THE_MITRA_OUT: frozenset[FailureTag] = frozenset({"targeted_mitra_rejected", "targeted_mitra_timeout"})

RequestStatus = Literal["offered", "accepted", "rejected", "closed"]
# The database stores only the first six reasons. The server sends the last two reasons to the mitra's other devices,
# to tell them how the mitra answered.
CloseReason = Literal[
    "already_taken",
    "customer_cancelled",
    "timed_out",
    "went_offline",
    "at_capacity",
    "suspended",
    "rejected",
    "accepted",
]


def close_reason_of(tag: FailureTag) -> CloseReason:
    """Return the close reason of the requests, for a pairing that failed with this tag."""
    return "customer_cancelled" if tag == "customer_cancelled" else "timed_out"


def decided_outcome(
    request_status: RequestStatus,
    close_reason: CloseReason | None,
    pairing_status: PairingStatus,
    failure_tag: FailureTag | None,
) -> CloseReason | None:
    """Return how a request ended. Return None if it is still `offered` and its pairing is undecided.

    If a request is still `offered` although its pairing was decided, the outcome follows from the pairing.
    """
    if request_status in ("rejected", "accepted"):
        return request_status
    if close_reason is not None:
        return close_reason
    if pairing_status == "matched":
        return "already_taken"
    return None if failure_tag is None else close_reason_of(failure_tag)


def tag_when_time_is_up(asked: int, rejected: int, *, waits_for_wave: bool) -> FailureTag:
    """Return the tag of a blast whose window ended (2b.3, 2b.4).

    `asked` is the number of mitras whom the blast asked. `rejected` is the number of asked mitras who rejected the
    blast. `waits_for_wave` says whether more mitras were available than the blast asked.
    """
    return "all_mitras_rejected" if 0 < asked == rejected and not waits_for_wave else "no_mitra_available"
