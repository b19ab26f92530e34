"""Run seeded schedules under the virtual clock: 500, or as many as fit into three minutes."""

import secrets
import time

import pytest

from curhat.kit.database import Database
from tests.simulation.checker import checker_of
from tests.simulation.simulation_state import SimulationState

SCHEDULES = 500
MAX_SECONDS = 180

# The schedules must reach each of these outcomes, so that each outcome is tested. On a slow machine, the test continues
# after three minutes until all outcomes are reached, up to 500 schedules.
MUST_BE_REACHED = {
    # How a blast ends.
    "blast matched",
    "blast no_mitra_available",
    "blast all_mitras_rejected",
    "blast customer_cancelled",
    # The ends of a targeted pairing, and the times at which its mitra was found offline (4.4).
    "targeted matched",
    "targeted targeted_mitra_offline",
    "targeted targeted_mitra_rejected",
    "targeted targeted_mitra_timeout",
    "targeted customer_cancelled",
    "targeted offline: at once",
    "targeted offline: went_offline",
    # The ends of the fallback (3.5, 3.8).
    "fallback taken",
    "fallback declined",
    "fallback expired",
    "fallback blast matched",
    "fallback blast failed",
    "failure recovered",
    # The decisions about an extension, and the answers of the gateway about its charge (5).
    "extension approved by mitra",
    "extension approved by timeout",
    "extension rejected by mitra",
    "extension rejected by timeout",
    "extension rejected by mitra_unreachable",
    "extension rejected by session_ended",
    "extension rejected since its mitra lost the network",
    "extension rejected since its mitra's phone is dead",
    "extension rejected since nobody knows whether its mitra is connected",
    "extension lost by the toggle",
    "extension charge_failed by mitra",
    "extension charge_failed by timeout",
    "extension holds the end back",
    "declined for extension",
    "slow for extension",
    "approved_late for extension",
    "answer doubled for extension",
    # The actions of the gateway for sessions and for any charge.
    "declined for session",
    "slow for session",
    "approved_late for session",
    "answer doubled for session",
    "charge lost on its way",
    "answer lost",
    # The actions of operators, even during a journey, and the actions of the gateway for refunds.
    "case refund",
    "case no_refund",
    "case opened again",
    "refund approved by a second operator",
    "refund retried",
    "refund pending",
    "refund done after the gateway called it failed",
    "refund failed after late_approval",
    "refund failed after operator_decision",
    "refund done after late_approval",
    "refund done after operator_decision",
    "charge given up",
    # How a session ends.
    "session customer_ended",
    "session mitra_ended",
    "session mitra_suspended",
    "session time_up",
    # The changes that operators make to a mitra's capacity.
    "capacity changed",
    "a mitra is full after a change of capacity",
    # The events and pushes that reach devices, and the reactions of push services.
    "messages on the device of a customer",
    "messages on the device of a mitra",
    "message read",
    "push request_offered",
    "push matched",
    "push message",
    "push service silent",
    "push service refuses",
    "push service gone",
    "a message while a worker holds its push deadline",
    # What stops or steps.
    "clock set back",
    "a stopped process commits",
    "a stopped process loses its transaction",
    "a step waits for a stopped process",
}


@pytest.mark.timeout(900)
@pytest.mark.rule("2a.6", "2a.7", "2a.8", "2a.10", "2b.6", "2b.7", "2b.8")
@pytest.mark.rule("3.5", "3.8", "3.9", "4.3", "4.4", "5.1", "5.2", "5.4", "5.6", "5.7", "X.1", "X.10")
@pytest.mark.invariant(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15)
async def test_no_schedule_breaks_an_invariant(database: Database) -> None:
    first = secrets.randbelow(10**9)
    begun = time.monotonic()
    reached: set[str] = set()
    async with checker_of(database) as checker:
        for seed in range(first, first + SCHEDULES):
            reached |= await SimulationState(database, checker, seed).run()
            if time.monotonic() - begun > MAX_SECONDS and reached >= MUST_BE_REACHED:
                break
    assert MUST_BE_REACHED - reached == set()
