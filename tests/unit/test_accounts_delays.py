"""Test the delays after failures, and the figures in decision 0072 and docs/security.md."""

from collections.abc import Callable

import pytest

from curhat.accounts import codes
from curhat.accounts.delays import Delays, refuse_while_waiting
from curhat.control_center.operators.throttle import OWN_DELAYS, STRANGERS_DELAYS
from curhat.kit.errors import TooManyRequests

DAY_SECONDS = 24 * 3600


def max_per_day(wait_after: Callable[[int], float]) -> int:
    """Return the maximum number of failures in 24 hours.

    Each failure comes as soon as the wait after the last failure is over.
    """
    failed_at: list[float] = []
    most, now = 0, 0.0
    # Simulate two days, because the failures of the first day leave the count during the second day.
    while now < 2 * DAY_SECONDS:
        failed_at = [at for at in failed_at if at > now - DAY_SECONDS] + [now]
        most = max(most, len(failed_at))
        now += max(wait_after(len(failed_at)), 0.1)
    return most


def test_the_wait_doubles_with_each_failure_up_to_its_maximum() -> None:
    delays = Delays(free=3, first_seconds=10, max_seconds=60)
    assert [delays.after(failures) for failures in range(8)] == [0, 0, 0, 10, 20, 40, 60, 60]
    assert delays.after(10**6) == 60


@pytest.mark.rule("X.13")
@pytest.mark.parametrize(
    ("wait_after", "most"),
    [
        (codes.own_wait, 34),
        (codes.STRANGERS_DELAYS.after, 64),
        (OWN_DELAYS["password"].after, 310),
        (STRANGERS_DELAYS["password"].after, 1_550),
        (OWN_DELAYS["code"].after, 35),
        (STRANGERS_DELAYS["code"].after, 40),
    ],
)
def test_the_number_of_failures_in_a_day_is_bounded(wait_after: Callable[[int], float], most: int) -> None:
    assert 0.9 * most <= max_per_day(wait_after) <= most


@pytest.mark.rule("X.13")
def test_a_single_address_gets_too_few_codes_to_delay_other_strangers() -> None:
    assert codes.STRANGERS_DELAYS.after(max_per_day(codes.own_wait)) == 0


@pytest.mark.rule("X.13")
def test_nobody_waits_longer_than_an_hour_to_sign_in() -> None:
    delays = (
        codes.REQUESTER_DELAYS,
        codes.STRANGERS_DELAYS,
        *OWN_DELAYS.values(),
        *STRANGERS_DELAYS.values(),
    )
    assert max(one.after(10**6) for one in delays) == 3600


def test_the_longest_wait_applies_and_is_rounded_up() -> None:
    refuse_while_waiting(None, 0.0, -5.0)
    with pytest.raises(TooManyRequests) as refused:
        refuse_while_waiting(None, 3.0, 4.2)
    assert refused.value.retry_after_seconds == 5
