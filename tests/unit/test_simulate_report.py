"""Test the figures, faults and violated invariants in the report of a simulation."""

import pytest
from rich.console import Console

from curhat.app.invariants import INVARIANTS, Violation
from curhat.dev.simulate.queries import SumMoneyRow
from curhat.dev.simulate.report import (
    MAX_FAULTS_SHOWN,
    Outcome,
    Tally,
    percentile,
    progress_line,
    progress_screen,
    report,
)

OUTCOME = Outcome(
    counts={
        "payments": {"served": 9, "unserved": 1},
        "failures": {"customer_cancelled": 1},
        "session ends": {"customer_ended": 9},
        "charges": {"approved": 8},
        "targeted pairings": {"matched": 3, "targeted_mitra_rejected": 2},
        "fallbacks": {"taken: matched": 1, "declined": 1},
        "extensions": {"approved by timeout": 2, "rejected by mitra": 1},
    },
    money=SumMoneyRow(trials=2, taken_rp=1_200_000, extensions_rp=20_000),
    seconds_to_accept=[0.5, 1.5, 2.5],
)


def written(tally: Tally, violations: list[Violation]) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(report("curhat simulate", tally, OUTCOME, violations, 7))
    return capture.get()


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3.0], 0.99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([1.0, 2.0, 3.0, 4.0], 0.95, 4.0),
    ],
)
def test_a_percentile_of_a_report_is_computed_with_the_nearest_rank_method(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


def test_the_report_of_a_run_without_faults_has_the_figures_and_the_word_clean() -> None:
    tally = Tally()
    tally.message_delays = [0.010, 0.020]

    text = written(tally, [])

    assert "10: served 9, unserved 1" in text
    assert "taken Rp1.200.000" in text
    assert "matched 3, targeted_mitra_rejected 2" in text
    assert "taken: matched 1, declined 1" in text
    assert "approved by timeout 2, rejected by mitra 1" in text
    assert "taken Rp20.000" in text
    assert "p50 1.5 s, p95 2.5 s, p99 2.5 s (3)" in text
    assert "p50 10.0 ms, p95 20.0 ms, p99 20.0 ms (2)" in text
    assert f"all {len(INVARIANTS)} hold" in text
    assert "clean" in text
    assert "NOT CLEAN" not in text
    assert "seed 7" in text


def test_the_report_has_the_answers_to_returns_and_popups_and_extensions() -> None:
    tally = Tally()
    tally.returns.update(available=4, full=1)
    tally.popups.update(taken=1, declined=1)
    tally.extension_answers.update(accepted=2, extension_decided=1)

    text = written(tally, [])

    assert "at the tap: available 4, full 1" in text
    assert "answers to the popup: taken 1, declined 1" in text
    assert "answers: accepted 2, extension_decided 1" in text


def test_the_report_shows_a_violated_invariant_and_its_row() -> None:
    text = written(Tally(), [Violation(INVARIANTS[0], {"pairing_id": "[x]", "winners": 2})])

    assert "1 BROKEN" in text
    assert "a pairing has at most one winner" in text
    assert "pairing_id=[x], winners=2" in text
    assert "NOT CLEAN" in text


def test_the_report_counts_all_faults_and_shows_the_first_faults() -> None:
    tally = Tally()
    for number in range(MAX_FAULTS_SHOWN + 5):
        tally.fault(f"fault {number}")

    text = written(tally, [])

    assert f"{MAX_FAULTS_SHOWN + 5} BROKEN" in text
    assert "fault 0" in text
    assert "and 5 more" in text
    assert "NOT CLEAN" in text


def test_the_progress_counts_the_customers_in_each_phase() -> None:
    tally = Tally()
    tally.phases = {0: "searching", 1: "searching", 2: "chatting"}
    tally.journeys, tally.matched = 3, 1

    assert "2 searching, 1 chatting; 3 journeys, 1 matched" in progress_line(tally)
    console = Console(width=100)
    with console.capture() as capture:
        console.print(progress_screen(tally))
    assert "searching 2, chatting 1" in capture.get()
