"""Checks that each extension was decided by a permitted party (5.6).

The SQL invariants cannot check this rule, because the database does not store presence.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from curhat.presence.states import COME_BACK_SECONDS, MITRA_HEARD_SECONDS
from tests.simulation.checker import Checker
from tests.simulation.fake_gateway import SimulatedPresence

HEARD_WITHIN = timedelta(seconds=MITRA_HEARD_SECONDS)

DECIDED = """
SELECT extensions.id, extensions.decided_by, extensions.charge_by IS NOT NULL AS was_approved, sessions.mitra_id,
    extensions.requested_at, extensions.deadline_at, extensions.decided_at,
    mitras.online AND mitras.suspended_at IS NULL AND NOT extensions.mitra_went_offline AS toggle_was_on
FROM extensions
JOIN sessions ON sessions.id = extensions.session_id
JOIN mitras ON mitras.id = sessions.mitra_id
WHERE extensions.decided_by IN ('mitra', 'timeout', 'mitra_unreachable') AND extensions.id <> ALL ($1::uuid[])
"""


@dataclass(frozen=True)
class Heard:
    """The absences of each mitra, as presence knows them at one moment."""

    presence_is_unknown: bool
    # The start and the end of each absence. An absence that has not ended has the end datetime.max.
    absences: dict[UUID, list[tuple[datetime, datetime]]]

    def was_connected(self, mitra_id: UUID, requested_at: datetime, moment: datetime) -> bool:
        """Return whether the mitra was connected at `moment`, and had no absence of 3 s or more since the request."""
        last_frame = moment
        for gone_at, back_at in self.absences[mitra_id]:
            if gone_at < moment and back_at > requested_at:
                if min(back_at, moment) - gone_at >= timedelta(seconds=COME_BACK_SECONDS):
                    return False
                if back_at > moment:
                    last_frame = gone_at
        return last_frame > max(requested_at, moment - HEARD_WITHIN)

    def was_there_all_the_time(self, mitra_id: UUID, begin: datetime, end: datetime) -> bool:
        """Return whether the mitra was never absent between these two times."""
        return not any(gone_at < end and back_at > begin for gone_at, back_at in self.absences[mitra_id])


class ExtensionDecisions:
    """Checks the decisions of a step directly after the step, while toggles, connections and clock are unchanged."""

    def __init__(self, checker: Checker, presence: SimulatedPresence, reached: set[str]) -> None:
        self._checker = checker
        self._presence = presence
        self._reached = reached
        self._seen: list[UUID] = []

    async def listen(self) -> Heard:
        """Return the absences that presence now knows of each mitra."""
        (row,) = await self._checker.fetch("SELECT array(SELECT id FROM mitras) AS mitras")
        presence = self._presence
        absences = {mitra_id: list(presence.absences.get(mitra_id, ())) for mitra_id in row["mitras"]}
        for mitra_id, gone_at in (presence.lost_at | presence.silent_since).items():
            absences[mitra_id].append((gone_at, datetime.max.replace(tzinfo=UTC)))
        return Heard(presence.unknown, absences)

    async def check(self, heard: Heard | None = None) -> list[str]:
        """Return one text for each wrong decision.

        `heard` has the absences at the time when a process stopped. The stopped process has now committed its decision.
        If `heard` is None, the check uses the present absences.
        """
        broken = []
        rows = await self._checker.fetch(DECIDED, self._seen)
        if rows and heard is None:
            heard = await self.listen()
        for row in rows:
            assert heard is not None
            self._seen.append(row["id"])
            mitra_id, requested_at, decided_at = row["mitra_id"], row["requested_at"], row["decided_at"]
            moment = min(row["deadline_at"], decided_at)
            may_decide = (
                row["toggle_was_on"]
                and not heard.presence_is_unknown
                and heard.was_connected(mitra_id, requested_at, moment)
            )
            decided_by = row["decided_by"]
            if decided_by == "mitra_unreachable" and row["toggle_was_on"]:
                why = (
                    "nobody knows whether its mitra is connected"
                    if heard.presence_is_unknown
                    else "its mitra's phone is dead"
                    if mitra_id in self._presence.silent_since
                    else "its mitra lost the network"
                    if mitra_id in self._presence.lost_at
                    else "its mitra came back too late"
                )
                self._reached.add(f"extension rejected since {why}")
            if row["was_approved"] and not row["toggle_was_on"]:
                broken.append(f"invariant 7: extension {row['id']} was approved with the toggle off")
            if decided_by == "timeout" and not may_decide:
                broken.append(
                    f"invariant 7: silence decided extension {row['id']} though its mitra was not heard"
                )
            # After an absence, Presence sometimes no longer knows whether the mitra was connected at an earlier
            # deadline.
            is_certain = heard.was_there_all_the_time(mitra_id, moment, decided_at)
            if decided_by == "mitra_unreachable" and may_decide and is_certain:
                broken.append(f"rule 5.6: extension {row['id']} was rejected though its mitra was connected")
        return broken
