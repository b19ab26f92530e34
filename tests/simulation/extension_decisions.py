"""Checks who may decide an extension (5.6). The SQL invariants cannot check this rule, because the database does not
store presence.
"""

import math
from datetime import timedelta
from uuid import UUID

from curhat.journeys import availability
from curhat.presence.states import MITRA_HEARD_SECONDS
from tests.simulation.checker import Checker
from tests.simulation.fake_gateway import SimulatedPresence

DECIDED = """
SELECT extensions.id, extensions.decided_by, extensions.charge_by IS NOT NULL AS was_approved, sessions.mitra_id,
    extensions.requested_at, curhat_now() AS now,
    mitras.online AND mitras.suspended_at IS NULL AND NOT extensions.mitra_went_offline AS toggle_was_on
FROM extensions
JOIN sessions ON sessions.id = extensions.session_id
JOIN mitras ON mitras.id = sessions.mitra_id
WHERE extensions.decided_by IN ('mitra', 'timeout', 'mitra_unreachable') AND extensions.id <> ALL ($1::uuid[])
"""


class ExtensionDecisions:
    """Checks each step's decisions right after the step, while toggles, connections and clock are still the same."""

    def __init__(self, checker: Checker, presence: SimulatedPresence, reached: set[str]) -> None:
        self._checker = checker
        self._presence = presence
        self._reached = reached
        self._seen: list[UUID] = []

    async def check(self, *, read_presence_earlier: bool = False) -> list[str]:
        """Return one text per wrong decision.

        `read_presence_earlier`: whether a process made these decisions before it stopped. Presence may then have
        changed before the commit, so do not compare the decisions with presence.
        """
        broken = []
        for row in await self._checker.fetch(DECIDED, self._seen):
            self._seen.append(row["id"])
            ages = await availability.or_none(self._presence.frame_ages([row["mitra_id"]]))
            age = None if ages is None else ages.get(row["mitra_id"], math.inf)
            was_heard = (
                age is not None
                and age < MITRA_HEARD_SECONDS
                and row["now"] - timedelta(seconds=age) > row["requested_at"]
            )
            may_decide = row["toggle_was_on"] and was_heard
            decided_by = row["decided_by"]
            if decided_by == "mitra_unreachable" and row["toggle_was_on"]:
                why = (
                    "nobody knows whether its mitra is connected"
                    if age is None
                    else "its mitra's phone is dead"
                    if row["mitra_id"] in self._presence.silent_since
                    else "its mitra lost the network"
                )
                self._reached.add(f"extension rejected since {why}")
            if row["was_approved"] and not row["toggle_was_on"]:
                broken.append(f"invariant 7: extension {row['id']} was approved with the toggle off")
            if read_presence_earlier:
                continue
            if decided_by == "timeout" and not may_decide:
                broken.append(
                    f"invariant 7: silence decided extension {row['id']} though its mitra was not heard"
                )
            if decided_by == "mitra_unreachable" and may_decide:
                broken.append(f"rule 5.6: extension {row['id']} was rejected though its mitra was connected")
        return broken
