"""Test the one word that says what happened to a payment, and the payment's reference."""

from typing import get_args
from uuid import UUID

import pytest

from curhat.journeys.outcome import PaymentFacts, WhatHappened, what_happened
from curhat.payments.reference import payment_reference
from curhat.payments.states import PaymentStatus

# Each line: the word, and the facts about the payment.
OUTCOMES: list[tuple[WhatHappened, PaymentFacts]] = [
    # Not paid yet.
    ("searching", PaymentFacts("pending")),
    ("declined", PaymentFacts("pending", last_charge="declined")),
    ("searching", PaymentFacts("confirming", last_charge="started")),
    # Paid (a trial has no charge): the search runs, or the customer chooses another mitra.
    ("searching", PaymentFacts("confirmed")),
    ("searching", PaymentFacts("confirmed", last_charge="approved")),
    # Never paid.
    ("expired", PaymentFacts("expired")),
    ("expired", PaymentFacts("expired", last_charge="started")),
    ("expired", PaymentFacts("expired", last_charge="approved_late")),
    ("declined", PaymentFacts("expired", last_charge="declined")),
    ("abandoned", PaymentFacts("abandoned")),
    ("abandoned", PaymentFacts("abandoned", last_charge="approved_late")),
    ("declined", PaymentFacts("abandoned", last_charge="declined")),
    # An extension that was rejected, that the gateway declined, and that the gateway approved too late.
    ("abandoned", PaymentFacts("abandoned", has_session=True)),
    ("declined", PaymentFacts("abandoned", last_charge="declined", has_session=True)),
    ("abandoned", PaymentFacts("abandoned", last_charge="approved_late", has_session=True)),
    # A charge that a restore lost, and that only the gateway knew.
    ("abandoned", PaymentFacts("abandoned", last_charge="approved_late", case_reasons=["restored"])),
    # Paid, and nobody came.
    ("no_session", PaymentFacts("unserved", case_reasons=["no_session"])),
    ("no_session", PaymentFacts("unserved", last_charge="approved", case_reasons=["no_session"])),
    ("no_session", PaymentFacts("refunded", last_charge="approved", case_reasons=["no_session"])),
    ("no_session", PaymentFacts("unserved", last_charge="approved", case_reasons=["refund_failed"])),
    # A session ran.
    ("served", PaymentFacts("served", has_session=True)),
    ("served", PaymentFacts("served", last_charge="approved", has_session=True, end_reason="time_up")),
    ("served", PaymentFacts("served", has_session=True, end_reason="customer_ended")),
    ("served", PaymentFacts("refunded", has_session=True, end_reason="time_up", case_reasons=["complaint"])),
    (
        "served",
        PaymentFacts("served", has_session=True, end_reason="time_up", case_reasons=["refund_failed"]),
    ),
    ("cut_short", PaymentFacts("served", has_session=True, end_reason="mitra_ended")),
    ("cut_short", PaymentFacts("served", has_session=True, end_reason="mitra_suspended")),
    ("cut_short", PaymentFacts("refunded", has_session=True, end_reason="mitra_ended")),
    (
        "cut_short",
        PaymentFacts("served", has_session=True, end_reason="mitra_ended", case_reasons=["restored"]),
    ),
    (
        "cut_short",
        PaymentFacts("served", has_session=True, end_reason="customer_ended", case_reasons=["mitra_away"]),
    ),
    (
        "unanswered",
        PaymentFacts("served", has_session=True, end_reason="time_up", case_reasons=["unanswered"]),
    ),
    (
        "unanswered",
        PaymentFacts("refunded", has_session=True, end_reason="mitra_ended", case_reasons=["unanswered"]),
    ),
    (
        "unanswered",
        PaymentFacts(
            "served", has_session=True, end_reason="time_up", case_reasons=["refund_failed", "unanswered"]
        ),
    ),
]


@pytest.mark.rule("X.12")
@pytest.mark.parametrize(("word", "facts"), OUTCOMES)
def test_one_word_says_what_happened_to_a_payment(word: WhatHappened, facts: PaymentFacts) -> None:
    assert what_happened(facts) == word


def test_the_table_of_outcomes_has_every_status_and_every_word() -> None:
    assert {facts.status for _, facts in OUTCOMES} == set(get_args(PaymentStatus))
    assert {word for word, _ in OUTCOMES} == set(get_args(WhatHappened))


@pytest.mark.rule("X.12")
def test_the_reference_of_a_payment_is_the_end_of_its_id_in_capitals() -> None:
    assert payment_reference(UUID("019432f0-0000-7000-8000-00003286f72f")) == "3286F72F"
