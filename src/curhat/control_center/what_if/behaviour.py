"""Estimates how fast mitras answer, from answers that were cut off at different times. Pure.

An offer ends with an acceptance, a rejection, or neither: another mitra was faster, or the time was over. An offer that
ended with neither still tells that the mitra did not answer until then. The estimate is therefore a rate per second of
waiting: the answers in a part of the waiting time, divided by the seconds that all offers waited in this part. A mitra
with many offers has rates of its own. A mitra with few offers gets rates close to those of all mitras.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import log
from typing import Final, NamedTuple

# The parts of the waiting time, in seconds.
EDGES: Final = (0.0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 21, 25, 30, 35, 40, 50, 60, 90, 120, 300, 600)
# How many answers of an average mitra count beside a mitra's own answers.
PRIOR_ANSWERS: Final = 2.0
# How many offers that everybody answered count beside a mitra's own offers, in each part of the waiting time.
PRIOR_OFFERS: Final = 3.0
_MASK: Final = (1 << 64) - 1


class Ended(NamedTuple):
    """How one offer ended, `seconds` after it was made. `cause` is None if nobody answered until then."""

    who: int
    seconds: float
    cause: str | None


def uniform(*numbers: int) -> float:
    """Return a number above 0 and below 1 that depends only on `numbers` (SplitMix64).

    Two replays with the same numbers draw the same value, so that a difference between them has no noise of its own.
    """
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return ((state >> 11) + 0.5) / (1 << 53)


class Answers:
    """The estimated rates of several causes, for each of `count` individuals and for an average individual.

    An individual's rate in a part of the waiting time is its own answers per own second of waiting, together with
    PRIOR_OFFERS offers that were answered as by everybody, times the individual's factor.
    """

    def __init__(self, ended: Sequence[Ended], causes: Sequence[str], count: int) -> None:
        self.causes = tuple(causes)
        parts = len(EDGES) - 1
        widths = [EDGES[part + 1] - EDGES[part] for part in range(parts)]
        waited = [[0.0] * parts for _ in range(count + 1)]
        answered = {cause: [[0] * parts for _ in range(count + 1)] for cause in causes}
        for who, seconds, cause in ended:
            last = _part_of(seconds)
            waits = waited[who]
            for part in range(last):
                waits[part] += widths[part]
            waits[last] += min(seconds, EDGES[-1]) - EDGES[last]
            if cause is not None:
                answered[cause][who][last] += 1
        all_waited = [sum(part) for part in zip(*waited, strict=True)]
        self._curves: list[tuple[list[float], list[list[float]]]] = []
        # Beyond the longest wait in the records, the rate of the last known part continues.
        pooled = {
            cause: _filled(all_waited, [sum(part) for part in zip(*answered[cause], strict=True)])
            for cause in causes
        }
        for who in range(count + 1):
            each: list[list[float]] = []
            for cause in causes:
                common = pooled[cause]
                own = answered[cause][who]
                expected = sum(rate * seconds for rate, seconds in zip(common, waited[who], strict=True))
                factor = (PRIOR_ANSWERS + sum(own)) / (PRIOR_ANSWERS + expected)
                rates = [
                    (own[part] + PRIOR_OFFERS * widths[part] * factor * common[part])
                    / (waited[who][part] + PRIOR_OFFERS * widths[part])
                    for part in range(parts)
                ]
                each.append(_cumulated(rates))
            self._curves.append(([sum(values) for values in zip(*each, strict=True)], each))

    def draw(self, who: int, *numbers: int) -> tuple[float, str] | None:
        """Draw after how many seconds this individual answers, and how. None: not within the last part.

        The index after the last individual is the average one.
        """
        together, each = self._curves[who]
        wanted = -log(uniform(*numbers, 1))
        edge = bisect_left(together, wanted)
        if edge == 0 or edge == len(together):
            return None
        low, high = together[edge - 1], together[edge]
        seconds = EDGES[edge - 1] + (EDGES[edge] - EDGES[edge - 1]) * (wanted - low) / (high - low)
        chosen = uniform(*numbers, 2) * (high - low)
        for cause, curve in zip(self.causes, each, strict=True):
            chosen -= curve[edge] - curve[edge - 1]
            if chosen < 0:
                return seconds, cause
        return seconds, self.causes[-1]


def _part_of(seconds: float) -> int:
    return min(max(bisect_left(EDGES, seconds) - 1, 0), len(EDGES) - 2)


def _filled(waited: Sequence[float], answered: Sequence[int]) -> list[float]:
    rates: list[float] = []
    for seconds, answers in zip(waited, answered, strict=True):
        rates.append(answers / seconds if seconds > 0 else (rates[-1] if rates else 0.0))
    return rates


def _cumulated(rates: Sequence[float]) -> list[float]:
    total = [0.0]
    for part, rate in enumerate(rates):
        total.append(total[-1] + rate * (EDGES[part + 1] - EDGES[part]))
    return total
