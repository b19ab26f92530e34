"""The structs of the API about offers."""

from typing import Literal
from uuid import UUID

import msgspec

Purpose = Literal["session", "extension"]


class Offer(msgspec.Struct, frozen=True):
    """A duration and its price in whole rupiah. The trial has the price Rp0."""

    id: UUID
    duration_minutes: int
    price_rp: int
    is_trial: bool


class OfferList(msgspec.Struct, frozen=True):
    """The offers that a customer can choose, in the order of their durations.

    If the customer can have the trial, the trial is first.
    """

    offers: list[Offer]
