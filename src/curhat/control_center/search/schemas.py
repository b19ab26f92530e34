"""The API's structs of the search."""

from typing import Literal
from uuid import UUID

import msgspec

FoundKind = Literal[
    "customer",
    "mitra",
    "payment",
    "session",
    "case",
    "pairing",
    "request",
    "extension",
    "charge",
    "refund",
    "failed_pairing",
]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the search found. `label` names it, and `detail` says more about it.

    `payment_id`: the payment that it belongs to, which is the page that shows it. Null for a person.
    """

    kind: FoundKind
    id: UUID
    label: str
    detail: str
    payment_id: UUID | None


class SearchResults(msgspec.Struct, frozen=True):
    """At most 20 things, the most exact first."""

    items: list[Found]
