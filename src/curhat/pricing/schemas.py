"""The answers of pricing."""

from typing import Literal
from uuid import UUID

import msgspec

Purpose = Literal["session", "extension"]


class Offer(msgspec.Struct, frozen=True):
    """A duration and its price in whole rupiah. Rp0 is the trial."""

    id: UUID
    duration_minutes: int
    price_rp: int
    is_trial: bool


class OfferList(msgspec.Struct, frozen=True):
    """The offers that a customer may choose from: the trial first if they may have it, then by duration."""

    offers: list[Offer]
