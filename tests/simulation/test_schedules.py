"""Run seeded schedules under the virtual clock: 500, or as many as fit into three minutes."""

import secrets
import time

import pytest

from curhat.kit.database import Database
from tests.simulation.checker import checker_of
from tests.simulation.simulation_state import SimulationState

SCHEDULES = 500
MAX_SECONDS = 180

# The schedules must reach each of these outcomes, so that each outcome is tested. If an outcome is still missing after
# three minutes, the test continues, with at most 500 schedules in total.
MUST_BE_REACHED = {
    # How a blast ends.
    "blast matched",
    "blast no_mitra_available",
    "blast all_mitras_rejected",
    "blast customer_cancelled",
    # Targeted pairings must end in all of the following ways. In some pairings, the mitra must be offline at the start,
    # or go offline later (4.4).
    "targeted matched",
    "targeted targeted_mitra_offline",
    "targeted targeted_mitra_rejected",
    "targeted targeted_mitra_timeout",
    "targeted customer_cancelled",
    "targeted offline: at once",
    "targeted offline: went_offline",
    # Fallbacks must end in all of the following ways (3.5, 3.8).
    "fallback taken",
    "fallback declined",
    "fallback expired",
    "fallback blast matched",
    "fallback blast failed",
    "failure recovered",
    # People block each other between searches, and while a blast or a targeted pairing is open (T.1).
    "block",
    "block closes a card",
    # The following decisions about extensions, and answers of the gateway, must all occur (5).
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
    # The following answers and losses must all occur when the gateway charges for a session.
    "declined for session",
    "slow for session",
    "approved_late for session",
    "answer doubled for session",
    "charge lost on its way",
    "answer lost",
    # The following actions of operators, and answers of the gateway about refunds, must all occur.
    "case refund",
    "case no_refund",
    "case opened again",
    "case opened by hand",
    "part refunded",
    "refund approved by a second operator",
    "refund retried",
    "refund pending",
    "refund done after the gateway called it failed",
    "refund failed after late_approval",
    "refund failed after operator_decision",
    "refund done after late_approval",
    "refund done after operator_decision",
    "charge given up",
    # People report each other, and operators decide (T.2 to T.4).
    "report no_action",
    "report warn",
    "report suspend",
    "case after a report",
    "suspension over",
    "warning acknowledged",
    "appeal upheld",
    "appeal overturned",
    "refused: suspended",
    "refused: acknowledgement_needed",
    "push notice",
    # How a session ends.
    "session customer_ended",
    "session mitra_ended",
    "session mitra_suspended",
    "session time_up",
    # How a session ends for a person who leaves it.
    "left: customer_ended",
    "left: mitra_ended",
    "left: time_up",
    "left: customer_ended with a report",
    # What a session's end delivered, and a mitra who returned.
    "session delivered",
    "session cut_short",
    "session mitra_away",
    "session unanswered",
    "extension of a session unanswered",
    "mitra back",
    # Operators change a mitra's capacity, and sometimes a mitra is full afterwards.
    "capacity changed",
    "a mitra is full after a change of capacity",
    # The following events and pushes must all reach a device. Push services must react in all of the following ways.
    "messages on the device of a customer",
    "messages on the device of a mitra",
    "message read",
    "push request_offered",
    "push matched",
    "push message",
    "push search_failed",
    "push fallback_offered",
    "push decided",
    "push refunded",
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
@pytest.mark.rule("T.1", "T.3", "T.4")
@pytest.mark.invariant(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15)
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
