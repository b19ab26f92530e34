"""The realtime events about payments, pairings and requests."""

from typing import Final, Never

from curhat.pairing.schemas import Pairing, Payment, Request
from curhat.realtime.event_types import EventType, UnsequencedEventType

PAYMENT_UPDATED: Final = EventType[Payment, Never]("payment.updated", customer=Payment)
PAIRING_UPDATED: Final = EventType[Pairing, Never]("pairing.updated", customer=Pairing)
REQUEST_OFFERED: Final = UnsequencedEventType("request.offered", Request)
REQUEST_CLOSED: Final = UnsequencedEventType("request.closed", Request)
