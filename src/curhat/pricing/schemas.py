"""The structs of the API about offers."""

from typing import Literal
from uuid import UUID

import msgspec

from curhat.configuration.definitions import DefaultAction

Purpose = Literal["session", "extension"]


class Offer(msgspec.Struct, frozen=True):
    """A duration and its price in whole rupiah. The trial has the price Rp0."""

    id: UUID
    duration_minutes: int
    price_rp: int
    is_trial: bool


class ServiceFacts(msgspec.Struct, frozen=True):
    """What a person wants to know before signing in.

    A price or a duration is null if no such offer exists. `help_url` opens a mail or a chat to the team. It is null if
    the server has no such address.
    """

    lowest_price_rp: int | None
    trial_minutes: int | None
    help_url: str | None


class OfferList(msgspec.Struct, frozen=True):
    """The offers that a customer can choose, in the order of their durations.

    If the customer can have the trial, the trial is first. With the purpose `extension`, `default_action` says what
    happens if the mitra has not answered after `answer_seconds` (5.2). With the purpose `session`, both are null.
    """

    offers: list[Offer]
    default_action: DefaultAction | None = None
    answer_seconds: int | None = None
