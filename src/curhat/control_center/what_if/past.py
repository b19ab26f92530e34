"""Turns the records of past searches into the world of a replay. Pure."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from statistics import quantiles
from typing import Final
from uuid import UUID

from curhat.control_center.what_if.behaviour import Answers, Ended
from curhat.control_center.what_if.queries import PastPairing, PastRequest
from curhat.control_center.what_if.replay import Fallback, Presence, Search, World
from curhat.control_center.what_if.schemas import ExtraMitras, Happened, WhatIfQuestion
from curhat.pairing.states import FailureTag

_WIB: Final = timezone(timedelta(hours=7))
# A request that is offered this soon after the search began belongs to the first question to everybody.
_AT_ONCE_SECONDS: Final = 1.0
_DEFAULT_TARGETED_SECONDS: Final = 20.0


class Past:
    """The records of past searches. `since` is the first moment that counts. Earlier searches only fill the mitras."""

    def __init__(
        self,
        pairings: Sequence[PastPairing],
        requests: Iterable[PastRequest],
        capacities: dict[UUID, int],
        since: datetime,
    ) -> None:
        self.since = since
        self.mitra_ids = sorted(capacities)
        self._index = {mitra_id: number for number, mitra_id in enumerate(self.mitra_ids)}
        self._capacities = [capacities[mitra_id] for mitra_id in self.mitra_ids]
        self._requests: dict[UUID, list[PastRequest]] = defaultdict(list)
        for request in requests:
            self._requests[request.pairing_id].append(request)
        journeys: dict[UUID, list[PastPairing]] = defaultdict(list)
        for pairing in pairings:
            journeys[pairing.payment_id].append(pairing)
        # A journey whose targeted failure still waits for an answer, or whose chat runs, has no known end.
        self._journeys = [one for one in journeys.values() if one[-1].fallback_status != "open"]
        self._pairings = [one for journey in self._journeys for one in journey]
        self._zero = min((one.created_at for one in self._pairings), default=since)

    def happened(self) -> Happened:
        """Count what the records say about the searches that count."""
        counted = [one for one in self._journeys if one[0].created_at >= self.since]
        waits = [
            (one[-1].started_at - one[0].created_at).total_seconds()
            for one in counted
            if one[-1].started_at is not None
        ]
        tags = [tag for one in counted if (tag := _last_tag(one[-1])) is not None]
        return Happened(
            searches=len(counted),
            served=len(waits),
            wait_p50=percentile(waits, 50),
            wait_p95=percentile(waits, 95),
            failures=dict(Counter(tags)),
        )

    def sessions(self) -> Counter[int]:
        """Count the sessions of each mitra, of the searches that count."""
        return Counter(
            self._index[one[-1].mitra_id]
            for one in self._journeys
            if one[-1].mitra_id is not None and one[0].created_at >= self.since
        )

    def world(self) -> World:
        """Return the world as it was."""
        return World(
            searches=self._searches(),
            presence=self._presence(),
            capacities=self._capacities,
            recorded_mitras=len(self._capacities),
            answers=Answers(list(self._answers()), ("accepted", "rejected"), len(self._capacities)),
            patience=Answers(list(self._patience()), ("cancelled",), 1),
            fallback=self._fallback(),
        )

    def changed(self, world: World, question: WhatIfQuestion, until: datetime) -> World:
        """Return the world with the change that the question names."""
        searches = [
            replace(
                one,
                blast_seconds=float(question.blast_timeout_seconds or one.blast_seconds),
                targeted_seconds=float(question.targeted_timeout_seconds or one.targeted_seconds),
            )
            for one in world.searches
        ]
        if question.extra_mitras is None:
            return replace(world, searches=searches)
        extra = question.extra_mitras
        typical = sorted(world.capacities)[len(world.capacities) // 2] if world.capacities else 1
        return replace(
            world,
            searches=searches,
            capacities=[*world.capacities, *[typical] * extra.count],
            shifts=list(self._shifts(extra, until)),
        )

    def _shifts(self, extra: ExtraMitras, until: datetime) -> Iterable[tuple[float, int, bool]]:
        day = self.since.astimezone(_WIB).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(
            days=1
        )
        while day < until:
            begins, ends = day + timedelta(hours=extra.from_hour), day + timedelta(hours=extra.to_hour)
            if extra.to_hour <= extra.from_hour:
                ends += timedelta(days=1)
            for number in range(extra.count):
                mitra = len(self._capacities) + number
                yield self._seconds(begins), mitra, True
                if extra.to_hour - extra.from_hour < 24:
                    yield self._seconds(ends), mitra, False
            day += timedelta(days=1)

    def _seconds(self, at: datetime) -> float:
        return (at - self._zero).total_seconds()

    def _searches(self) -> list[Search]:
        """Each journey as one search. The length of a chat that never was is drawn in turn from the chats that were."""
        lengths = [
            (one.ended_at - one.started_at).total_seconds() / (60 * one.duration_minutes)
            for one in self._pairings
            if one.started_at is not None and one.ended_at is not None
        ] or [1.0]
        blasts = [_window(one) for one in self._pairings if one.kind == "blast"]
        targeted = [_window(one) for one in self._pairings if one.kind == "targeted"]
        usual_blast = sorted(blasts)[len(blasts) // 2] if blasts else 60.0
        usual_targeted = sorted(targeted)[len(targeted) // 2] if targeted else _DEFAULT_TARGETED_SECONDS
        searches = []
        for number, journey in enumerate(self._journeys):
            windows = {one.kind: _window(one) for one in journey}
            first, last = journey[0], journey[-1]
            target = None
            if first.target_mitra_id is not None:
                target = self._index[first.target_mitra_id]
            if last.started_at is not None and last.ended_at is not None:
                seconds = (last.ended_at - last.started_at).total_seconds()
            else:
                seconds = 60 * last.duration_minutes * lengths[number * 7919 % len(lengths)]
            searches.append(
                Search(
                    at=self._seconds(first.created_at),
                    blast_seconds=windows.get("blast", usual_blast),
                    targeted_seconds=windows.get("targeted", usual_targeted),
                    target=target,
                    session_seconds=max(seconds, 1.0),
                    is_counted=first.created_at >= self.since,
                )
            )
        return searches

    def _presence(self) -> list[Presence]:
        """When each mitra was online: those whom a blast asked. A mitra who was full keeps the state of before."""
        begins: dict[int, list[float]] = defaultdict(list)
        ends: dict[int, list[float]] = defaultdict(list)
        for one in self._pairings:
            if one.mitra_id is not None and one.started_at is not None:
                length = timedelta(minutes=one.duration_minutes)
                begins[self._index[one.mitra_id]].append(self._seconds(one.started_at))
                ends[self._index[one.mitra_id]].append(self._seconds(one.ended_at or one.started_at + length))
        for times in (*begins.values(), *ends.values()):
            times.sort()

        def is_full(mitra: int, at: float) -> bool:
            running = bisect_left(begins[mitra], at) - bisect_left(ends[mitra], at)
            return running >= self._capacities[mitra]

        found: list[Presence] = []
        online: set[int] = set()
        for one in sorted(self._pairings, key=lambda pairing: pairing.created_at):
            asked = self._requests.get(one.id, [])
            at = self._seconds(one.created_at)
            if one.kind == "targeted":
                assert one.target_mitra_id is not None
                target = self._index[one.target_mitra_id]
                if asked and target not in online:
                    found.append(Presence(at, joins=target))
                    online.add(target)
                continue
            delays = {self._index[each.mitra_id]: self._seconds(each.offered_at) - at for each in asked}
            first = {mitra for mitra, delay in delays.items() if delay < _AT_ONCE_SECONDS}
            online = first | {mitra for mitra in online if mitra not in first and is_full(mitra, at)}
            found.append(Presence(at, online=frozenset(online)))
            for mitra, delay in delays.items():
                if mitra not in online:
                    found.append(Presence(at + delay, joins=mitra))
                    online.add(mitra)
        found.sort(key=lambda presence: presence.at)
        return found

    def _answers(self) -> Iterable[Ended]:
        decided = {one.id: one.decided_at for one in self._pairings}
        for pairing_id, asked in self._requests.items():
            if pairing_id not in decided:
                continue
            for each in asked:
                ended_at = each.answered_at or decided[pairing_id]
                seconds = max((ended_at - each.offered_at).total_seconds(), 0.001)
                cause = each.outcome if each.outcome in ("accepted", "rejected") else None
                yield Ended(self._index[each.mitra_id], seconds, cause)

    def _patience(self) -> Iterable[Ended]:
        for journey in self._journeys:
            seconds = (journey[-1].decided_at - journey[0].created_at).total_seconds()
            yield Ended(0, seconds, "cancelled" if journey[-1].tag == "customer_cancelled" else None)

    def _fallback(self) -> Fallback:
        offered = [one for one in self._journeys if one[0].fallback_status is not None]
        taken = [one for one in offered if one[0].fallback_status == "taken"]
        if not offered:
            return Fallback(taken=0.5, declined=0.5)
        return Fallback(
            taken=len(taken) / len(offered),
            declined=sum(one[0].fallback_status == "declined" for one in offered) / len(offered),
            seconds=[
                max((one[-1].created_at - one[0].decided_at).total_seconds(), 0.0)
                for one in taken
                if len(one) > 1
            ]
            or [5.0],
        )


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Return a percentile, or None if there is no value."""
    if len(values) < 2:
        return values[0] if values else None
    return float(quantiles(values, n=100, method="inclusive")[percent - 1])


def _window(pairing: PastPairing) -> float:
    return (pairing.deadline_at - pairing.created_at).total_seconds()


def _last_tag(pairing: PastPairing) -> FailureTag | None:
    return "payment_session_expired" if pairing.fallback_status == "expired" else pairing.tag
