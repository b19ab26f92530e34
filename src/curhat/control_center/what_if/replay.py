"""Replays past searches in simulated time. Pure.

The replay keeps each search at its time, and each mitra online as the searches show it. A blast asks every mitra who is
online and below capacity, and everybody who becomes so while it is open, as the service does. How fast a mitra answers,
and how long a customer waits, is drawn from the estimates of `behaviour`. All times are seconds since the first search.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from curhat.control_center.what_if.behaviour import Answers, uniform
from curhat.pairing.states import FailureTag

# The order of events at the same time: the mitras change before a search asks them.
_FREE, _ONLINE, _ARRIVE, _ANSWER, _OVER, _CANCEL = range(6)


@dataclass(frozen=True, slots=True)
class Search:
    """One paid search. `target`: the chosen mitra, or None for a blast. `session_seconds`: how long its chat lasts."""

    at: float
    blast_seconds: float
    targeted_seconds: float
    target: int | None
    session_seconds: float
    is_counted: bool


@dataclass(frozen=True, slots=True)
class Presence:
    """From `at` on, `online` holds who is online among the recorded mitras, or `joins` comes online in addition."""

    at: float
    online: frozenset[int] | None = None
    joins: int | None = None


@dataclass(frozen=True, slots=True)
class Fallback:
    """How customers answered the offer of a blast after a targeted failure: parts of all, and the seconds they took."""

    taken: float = 0.0
    declined: float = 0.0
    seconds: Sequence[float] = (5.0,)


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a replay needs. Extra mitras have the indexes after the recorded mitras."""

    searches: Sequence[Search]
    presence: Sequence[Presence]
    capacities: Sequence[int]
    recorded_mitras: int
    answers: Answers
    patience: Answers
    fallback: Fallback
    # When an extra mitra comes online (True) or goes offline (False).
    shifts: Sequence[tuple[float, int, bool]] = ()


@dataclass(slots=True)
class Result:
    """What one run counted. `sessions` counts per mitra."""

    waits: list[float] = field(default_factory=list)
    failures: Counter[FailureTag] = field(default_factory=Counter)
    sessions: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class _Open:
    """A search that is open. `turn` grows with each pairing, so that the events of an earlier pairing are ignored."""

    search: Search
    turn: int = 0
    is_blast: bool = False
    asked: set[int] = field(default_factory=set)
    offered: dict[int, int] = field(default_factory=dict)
    rejected: set[int] = field(default_factory=set)
    left_out: int | None = None


class Replay:
    """One run. `seed` decides all draws."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._seed = seed
        self._events: list[tuple[float, int, int, tuple[int, ...]]] = []
        self._order = 0
        self._online: set[int] = set()
        self._load = [0] * len(world.capacities)
        self._open: dict[int, _Open] = {}
        self._offers = 0
        self.result = Result()

    def run(self) -> Result:
        """Replay all searches."""
        for number, presence in enumerate(self._world.presence):
            self._at(presence.at, _ONLINE, number)
        for at, mitra, is_online in self._world.shifts:
            self._at(at, _ONLINE, -1, mitra, is_online)
        for number, search in enumerate(self._world.searches):
            self._at(search.at, _ARRIVE, number)
        while self._events:
            now, kind, _, about = heapq.heappop(self._events)
            if kind == _FREE:
                self._load[about[0]] -= 1
                self._offer_open(now, about)
            elif kind == _ONLINE:
                self._change_presence(now, *about)
            elif kind == _ARRIVE:
                self._begin(now, about[0])
            elif kind == _ANSWER:
                self._answer(now, *about)
            else:
                self._end(now, kind, *about)
        return self.result

    def _at(self, at: float, kind: int, *about: int) -> None:
        self._order += 1
        heapq.heappush(self._events, (at, kind, self._order, about))

    def _is_free(self, mitra: int) -> bool:
        return mitra in self._online and self._load[mitra] < self._world.capacities[mitra]

    def _change_presence(self, now: float, number: int, mitra: int = -1, is_online: int = 0) -> None:
        if number < 0:
            (self._online.add if is_online else self._online.discard)(mitra)
            came = [mitra] if is_online else []
        else:
            presence = self._world.presence[number]
            if presence.online is None:
                came = [] if presence.joins is None else [presence.joins]
                self._online.update(came)
            else:
                extra = {one for one in self._online if one >= self._world.recorded_mitras}
                came = sorted(presence.online - self._online)
                self._online = set(presence.online) | extra
        self._offer_open(now, came)

    def _offer_open(self, now: float, mitras: Iterable[int]) -> None:
        for mitra in mitras:
            for number, one in self._open.items():
                if one.is_blast:
                    self._offer(now, number, one, mitra)

    def _begin(self, now: float, number: int) -> None:
        search = self._world.searches[number]
        one = self._open[number] = _Open(search)
        patience = self._world.patience.draw(0, self._seed, number, 0, 3)
        if patience is not None:
            self._at(now + patience[0], _CANCEL, number, -1)
        if search.target is None:
            self._blast(now, number, one)
        elif not self._is_free(search.target):
            self._fail_targeted(now, number, one, "targeted_mitra_offline")
        else:
            self._offer(now, number, one, search.target)
            self._at(now + search.targeted_seconds, _OVER, number, one.turn)

    def _blast(self, now: float, number: int, one: _Open) -> None:
        one.turn += 1
        one.is_blast = True
        one.asked, one.offered, one.rejected = set(), {}, set()
        for mitra in sorted(self._online):
            self._offer(now, number, one, mitra)
        self._at(now + one.search.blast_seconds, _OVER, number, one.turn)

    def _offer(self, now: float, number: int, one: _Open, mitra: int) -> None:
        if mitra in one.offered or mitra in one.rejected or mitra == one.left_out or not self._is_free(mitra):
            return
        self._offers += 1
        again = mitra in one.asked
        one.asked.add(mitra)
        one.offered[mitra] = self._offers
        who = min(mitra, self._world.recorded_mitras)
        drawn = self._world.answers.draw(who, self._seed, number, mitra, 2 * one.turn + again)
        if drawn is not None:
            seconds, cause = drawn
            self._at(now + seconds, _ANSWER, number, mitra, self._offers, cause == "accepted")

    def _answer(self, now: float, number: int, mitra: int, offer: int, accepts: int) -> None:
        one = self._open.get(number)
        if one is None or one.offered.get(mitra) != offer:
            return
        if accepts:
            del self._open[number]
            self._load[mitra] += 1
            self._at(now + one.search.session_seconds, _FREE, mitra)
            if one.search.is_counted:
                self.result.waits.append(now - one.search.at)
                self.result.sessions[mitra] += 1
            if not self._is_free(mitra):
                # The cards of a mitra who is full close. They are offered again when a place frees.
                for other_number, other in list(self._open.items()):
                    if other.offered.pop(mitra, None) is not None and not other.is_blast:
                        self._fail_targeted(now, other_number, other, "targeted_mitra_offline")
        elif not one.is_blast:
            self._fail_targeted(now, number, one, "targeted_mitra_rejected")
        else:
            del one.offered[mitra]
            one.rejected.add(mitra)
            if one.asked == one.rejected:
                self._fail(number, one, "all_mitras_rejected")

    def _end(self, now: float, kind: int, number: int, turn: int) -> None:
        one = self._open.get(number)
        if one is None or (kind == _OVER and one.turn != turn):
            return
        if kind == _CANCEL:
            self._fail(number, one, "customer_cancelled")
        elif not one.is_blast and not one.offered:
            self._blast(now, number, one)
        elif one.is_blast:
            self._fail(number, one, "no_mitra_available")
        else:
            self._fail_targeted(now, number, one, "targeted_mitra_timeout")

    def _fail_targeted(self, now: float, number: int, one: _Open, tag: FailureTag) -> None:
        """End the targeted pairing. The customer takes the fallback, declines it, or does not answer."""
        fallback = self._world.fallback
        drawn = uniform(self._seed, number, 5)
        one.offered = {}
        one.turn += 1
        if tag != "targeted_mitra_offline":
            one.left_out = one.search.target
        if drawn < fallback.taken:
            pick = int(uniform(self._seed, number, 6) * len(fallback.seconds))
            self._at(now + fallback.seconds[pick], _OVER, number, one.turn)
        elif drawn < fallback.taken + fallback.declined:
            self._fail(number, one, tag)
        else:
            self._fail(number, one, "payment_session_expired")

    def _fail(self, number: int, one: _Open, tag: FailureTag) -> None:
        del self._open[number]
        if one.search.is_counted:
            self.result.failures[tag] += 1
