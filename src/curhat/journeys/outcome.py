"""Says in one word what happened to a payment, for its customer. This module does no I/O.

| word | the payment |
|---|---|
| `searching` | is under way: `pending`, `confirming` or `confirmed`, and its last charge was not declined |
| `declined` | took nothing, and the gateway declined its last charge: still `pending`, or closed since |
| `expired`, `abandoned` | was closed unpaid. A charge that was approved too late stands in `refunds` or in `review` |
| `no_session` | was paid, and no session began. Also after the money came back |
| `unanswered` | paid for a session in which the mitra wrote nothing |
| `cut_short` | paid for a session that the mitra or a suspension ended early, or whose mitra stayed away |
| `served` | paid for any other session. A refund or a complaint does not change this |

An extension's payment gets the word of the session that it made longer.
"""

from collections.abc import Collection
from typing import Final, Literal

import msgspec

from curhat.payments.states import AttemptStatus, PaymentStatus
from curhat.sessions.states import OPENS_A_CASE, EndReason

WhatHappened = Literal[
    "served", "searching", "no_session", "cut_short", "unanswered", "expired", "abandoned", "declined"
]

# The reasons of review cases that say how the session went. The other reasons are about the money only.
_UNANSWERED: Final = "unanswered"
_CUT_SHORT: Final = frozenset({"cut_short", "mitra_away"})


class PaymentFacts(msgspec.Struct, frozen=True):
    """What the word depends on.

    `last_charge` is the status of the payment's last charge attempt. `has_session` and `end_reason` are about the
    session that the payment paid for. `case_reasons` are the reasons of the payment's review case, in all its rounds.
    """

    status: PaymentStatus
    last_charge: AttemptStatus | None = None
    has_session: bool = False
    end_reason: EndReason | None = None
    case_reasons: Collection[str] = ()


def what_happened(payment: PaymentFacts) -> WhatHappened:
    """Return the word for this payment. The table is at the top of this module."""
    match payment.status:
        case "unserved":
            return "no_session"
        case "served" | "refunded":
            return _how_the_session_went(payment) if payment.has_session else "no_session"
        case "confirmed" | "confirming":
            return "searching"
        case _ if payment.last_charge == "declined":
            return "declined"
        case "pending":
            return "searching"
        case "expired":
            return "expired"
        case "abandoned":
            return "abandoned"


def _how_the_session_went(payment: PaymentFacts) -> WhatHappened:
    if _UNANSWERED in payment.case_reasons:
        return "unanswered"
    if payment.end_reason in OPENS_A_CASE or not _CUT_SHORT.isdisjoint(payment.case_reasons):
        return "cut_short"
    return "served"
