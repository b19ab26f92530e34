"""A claim has a name, and a function that measures the claim on the testbed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.harness.report import Figure
from bench.harness.testbed import Testbed


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `python -m bench`."""

    rows: int
    day_messages: int


Measure = Callable[[Testbed, Options], Awaitable[list[Figure]]]
