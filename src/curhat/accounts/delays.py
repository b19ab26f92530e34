"""How long a requester waits after failures. Pure. Decision 0072 says how many tries these delays allow per day."""

import math
from dataclasses import dataclass

from curhat.kit.errors import TooManyRequests
from curhat.kit.refusals import LIMITED


@dataclass(frozen=True, slots=True)
class Delays:
    """The first `free` failures cause no wait. Each further failure doubles the wait, up to `max_seconds`."""

    free: int
    first_seconds: float
    max_seconds: float

    def after(self, failures: int) -> float:
        """Return the seconds that must pass between the last of `failures` failures and the next try."""
        if failures < self.free:
            return 0.0
        # Limit the exponent, because a float cannot hold 2 ** 1024.
        return min(self.max_seconds, self.first_seconds * 2.0 ** min(failures - self.free, 60))


def remaining(wait_seconds: float, age_seconds: float | None) -> float:
    """Return the seconds that are left of a wait.

    `age_seconds`: the seconds since the wait began, or None if no wait began.
    """
    return 0.0 if age_seconds is None else wait_seconds - age_seconds


def refuse_while_waiting(*wait_seconds: float | None) -> None:
    """Raise TooManyRequests if a wait is positive. None, zero or a negative number means no wait."""
    longest = max((seconds for seconds in wait_seconds if seconds is not None), default=0.0)
    if longest > 0:
        LIMITED.labels("sign_in_delay").inc()
        raise TooManyRequests(retry_after_seconds=math.ceil(longest))
