"""The invariants of the database. Each invariant is a statement in invariants.sql.

The statement returns the rows that break the invariant.
`check` joins the statements to one statement, so that all read the same database snapshot. `check` can run at any time,
even while the system does other work.
Invariants with `quiet` hold only if nobody acts and all due deadlines have fired. Some invariants check only the people
whose ids are given, because the database can contain other users, too. The rows of these other users can change at any
time, and operators can change a mitra's capacity.
"""

import re
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg
import msgspec

MAX_ROWS_PER_INVARIANT: Final = 20
FILE: Final = Path(__file__).with_name("invariants.sql")


@dataclass(frozen=True, slots=True)
class Invariant:
    """A condition that must hold.

    `query` returns the rows that break the condition. $1, if used, is a list of people's ids.
    """

    name: str
    number: str
    title: str
    quiet: bool
    query: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks an invariant."""

    invariant: Invariant
    row: dict[str, Any]

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.row.items())
        return f"invariant {self.invariant.number} ({self.invariant.title}): {values}"


class Reader(Protocol):
    """A connection, a transaction, or a Database."""

    def fetch(self, query: str, *arguments: Any) -> Coroutine[Any, Any, list[asyncpg.Record]]:
        """Return all rows of one statement."""


async def check(
    reader: Reader, *, quiet: bool = False, people: Collection[UUID] | None = None
) -> list[Violation]:
    """Return the rows that break an invariant now. With `quiet`, check the quiet invariants too.

    `people` are the ids of the people to check. If `people` is None, check everybody.
    """
    return await violations_of(INVARIANTS if quiet else ALWAYS, reader, people)


async def violations_of(
    invariants: Sequence[Invariant], reader: Reader, people: Collection[UUID] | None
) -> list[Violation]:
    """Return the rows that break these invariants now."""
    parts = [
        f"(SELECT {index} AS index, to_jsonb(broken)::text AS row FROM ({invariant.query}) AS broken"  # noqa: S608
        f" LIMIT {MAX_ROWS_PER_INVARIANT})"
        for index, invariant in enumerate(invariants)
    ]
    # Gives $1 a type when no invariant uses $1.
    parts.append("(SELECT 0, NULL WHERE $1::uuid[] IS NULL AND false)")
    people_ids = None if people is None else list(people)
    rows = await reader.fetch("\nUNION ALL\n".join(parts), people_ids)
    return [Violation(invariants[index], msgspec.json.decode(row)) for index, row in rows]


def _invariant(name: str, text: str) -> Invariant:
    lines = [line.strip() for line in text.strip().splitlines()]
    number, _, title = lines[0].removeprefix("-- ").partition(": ")
    query = "\n".join(line for line in lines if line and not line.startswith("--"))
    return Invariant(
        name,
        number.removesuffix(" (quiet)"),
        title,
        number.endswith(" (quiet)"),
        query.replace("@people_ids", "$1"),
    )


_parts: Final = re.split(r"^-- name: (\w+) :many$", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
INVARIANTS: Final = tuple(
    _invariant(name, text) for name, text in zip(_parts[0::2], _parts[1::2], strict=True)
)
# The invariants that hold at any time, even while people act.
ALWAYS: Final = tuple(invariant for invariant in INVARIANTS if not invariant.quiet)
# A simulation waits until this invariant holds, and then checks the other invariants.
IN_FLIGHT: Final = next(each for each in INVARIANTS if each.name == "nothing_in_flight")
