"""A claim: a name, and the function that measures it on the stand."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.harness.report import Figure
from bench.harness.stand import Stand


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command."""

    rows: int


Measure = Callable[[Stand, Options], Awaitable[list[Figure]]]
