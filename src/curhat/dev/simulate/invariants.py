"""The invariants of the database. Each is a statement of queries.sql that returns the rows that break it.

The numbers are those of docs/rules.md: 1 to 12 are its invariants, the others are its rules. `check` joins the
statements to one statement, so that all of them read the same snapshot. It may run at any time, together with other
work.

Invariants with `quiet` hold only if nobody acts and all due deadlines have fired. Some checks take the ids of the
people to check. In a database with other users, other rows may change at any time, and an operator may have changed
other mitras' capacity.
"""

from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import msgspec

from curhat.dev.simulate import queries

# Bounds how many rows that break one invariant are returned.
MAX_ROWS_PER_INVARIANT = 20


@dataclass(frozen=True, slots=True)
class Invariant:
    """A condition that must hold.

    `query` returns the rows that break it. $1, if used, is the list of people's ids.
    """

    number: str
    title: str
    query: str
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks an invariant."""

    invariant: Invariant
    row: dict[str, Any]

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.row.items())
        return f"invariant {self.invariant.number} ({self.invariant.title}): {values}"


class BrokenRow(msgspec.Struct, frozen=True):
    """A row of the joined statement: which invariant is broken, and by what, as JSON."""

    index: int
    row: str


class Reader(Protocol):
    """A connection, a transaction, or a Database."""

    def fetch(self, query: str, *arguments: Any) -> Coroutine[Any, Any, list[asyncpg.Record]]:
        """All rows of one statement."""


async def check(
    reader: Reader, *, quiet: bool = False, people: Collection[UUID] | None = None
) -> list[Violation]:
    """What is broken now. With `quiet`, also what holds only then. `people` are the ids to check; None: everybody."""
    invariants = [invariant for invariant in INVARIANTS if quiet or not invariant.quiet]
    return await violations_of(invariants, reader, people)


async def violations_of(
    invariants: Sequence[Invariant], reader: Reader, people: Collection[UUID] | None
) -> list[Violation]:
    """The rows that break these invariants now."""
    parts = [
        f"(SELECT {index} AS index, to_jsonb(broken)::text AS row FROM ({invariant.query}) AS broken"  # noqa: S608
        f" LIMIT {MAX_ROWS_PER_INVARIANT})"
        for index, invariant in enumerate(invariants)
    ]
    # Gives $1 its type when no invariant uses it.
    parts.append("(SELECT 0, NULL WHERE $1::uuid[] IS NULL AND false)")
    people_ids = None if people is None else list(people)
    broken = [BrokenRow(*row) for row in await reader.fetch("\nUNION ALL\n".join(parts), people_ids)]
    return [Violation(invariants[each.index], msgspec.json.decode(each.row)) for each in broken]


# A run waits until this invariant holds, and then checks the others.
IN_FLIGHT = Invariant("4", "nothing is in flight", queries.NOTHING_IN_FLIGHT, quiet=True)

INVARIANTS: tuple[Invariant, ...] = (
    Invariant("1", "a pairing has at most one winner", queries.ONE_WINNER),
    Invariant("1", "a payment has at most one session", queries.ONE_SESSION_PER_PAYMENT),
    Invariant("1", "a matched pairing, its winner and its session agree", queries.WINNER_AND_SESSION_AGREE),
    Invariant("2", "a payment has at most one charge", queries.ONE_CHARGE_PER_PAYMENT),
    Invariant(
        "2",
        "what a payment costs is charged if and only if it is confirmed; Rp0 never reaches the gateway",
        queries.CHARGED_AS_CONFIRMED,
    ),
    Invariant(
        "9", "an approval that came too late is refunded once and in full", queries.LATE_APPROVAL_REFUNDED
    ),
    Invariant("3", "no session without a confirmed payment", queries.SESSION_WAS_PAID),
    Invariant("3", "no pairing without a confirmed payment", queries.PAIRING_WAS_PAID),
    Invariant(
        "4",
        "a confirmed payment is served, in flight or failed, and exactly one of them",
        queries.SERVED_IN_FLIGHT_OR_FAILED,
    ),
    Invariant(
        "4",
        "each failed attempt has its event, and no other attempt has one",
        queries.FAILED_ATTEMPT_HAS_EVENT,
    ),
    Invariant(
        "4",
        "a payment that was taken and not served has its tag and its one case, and no recovered event",
        queries.FAILED_PAYMENT_HAS_TAG_AND_CASE,
    ),
    Invariant(
        "4",
        "a served payment has only recovered failures, and no case for a missing session",
        queries.SERVED_PAYMENT_DID_NOT_FAIL,
    ),
    Invariant(
        "2a.4",
        "a payment that was never taken has an event if and only if it expired, and no case",
        queries.UNPAID_PAYMENT_EXPIRED,
    ),
    Invariant(
        "X.8",
        "a session that was cut short has a case, and no other session has a case for that",
        queries.CUT_SHORT_HAS_CASE,
    ),
    Invariant(
        "3.5",
        "a payment has one blast, or one targeted pairing and then a blast if the fallback was taken",
        queries.TARGETED_THEN_ONE_BLAST,
    ),
    Invariant(
        "3.9", "a pairing asked only the mitras that it may ask", queries.ONLY_INTENDED_MITRAS_WERE_ASKED
    ),
    Invariant(
        "3.8",
        "an unanswered fallback is logged as expired, not early, and no other fallback is",
        queries.FALLBACK_EXPIRED_HAS_EVENT,
    ),
    Invariant(
        "7",
        "an extension is charged once if and only if it was approved, and not before",
        queries.EXTENSION_MONEY,
    ),
    Invariant("7", "a payment of an extension has its extension", queries.EXTENSION_PAYMENT_HAS_EXTENSION),
    Invariant(
        "7",
        "an extension was decided by its own terms, and never approved by a mitra who was away",
        queries.EXTENSION_DECIDED_AS_ITS_TERMS_SAY,
    ),
    Invariant(
        "5.7",
        "a session's end is its start, its own time and the extensions that were paid",
        queries.SESSION_LENGTHENED_BY_WHAT_WAS_PAID,
    ),
    Invariant(
        "5.7",
        "a session's open extension is the one in its open_extension_id",
        queries.OPEN_EXTENSION_HOLDS_ITS_SESSION,
    ),
    Invariant(
        "X.8",
        "an approved extension of a session that was cut short has a case, and no other extension has",
        queries.EXTENSION_CUT_SHORT_HAS_CASE,
    ),
    Invariant("5", "a window that timed out was not closed early", queries.WINDOW_NOT_CLOSED_EARLY),
    Invariant("5", "a payment did not expire early", queries.PAYMENT_NOT_EXPIRED_EARLY),
    Invariant("5", "a session was not ended by the clock early", queries.SESSION_NOT_ENDED_EARLY),
    Invariant("5", "nobody accepted at or after the deadline", queries.ACCEPTED_IN_TIME),
    Invariant("5", "nobody cancelled, confirmed or ended after the deadline", queries.DONE_IN_TIME),
    Invariant("5", "everything that waits for a deadline has one armed", queries.DEADLINE_ARMED),
    Invariant("5", "no deadline is parked", queries.NO_DEADLINE_PARKED),
    Invariant(
        "6",
        "the history of each status is one unbroken chain that ends at the row's status",
        queries.HISTORY_UNBROKEN,
    ),
    Invariant("8", "a mitra's count of sessions is the number of its sessions", queries.SESSIONS_COUNTED),
    Invariant(
        "8", "no mitra ever had more sessions at once than their capacity", queries.CAPACITY_NEVER_EXCEEDED
    ),
    Invariant(
        "10", "a stream's events are numbered without gaps up to its head", queries.STREAM_WITHOUT_GAPS
    ),
    Invariant(
        "2a.8",
        "a customer has one journey at a time: one open payment, or one running session",
        queries.ONE_JOURNEY_AT_A_TIME,
    ),
    Invariant("2a.3", "a customer has one trial", queries.ONE_TRIAL),
    Invariant("2b.6", "no mitra is asked by, or in a session with, themselves", queries.NOT_WITH_ONESELF),
    Invariant("X.8", "a message was sent while its session ran", queries.MESSAGE_WITHIN_SESSION),
    Invariant(
        "3.9", "a fallback never asked the mitra of the failed targeted pairing", queries.FALLBACK_LEAVES_OUT
    ),
    Invariant(
        "4.4",
        "no pairing or extension waits for a mitra who went offline",
        queries.LOST_MITRA_IS_NOT_WAITED_FOR,
    ),
    Invariant(
        "5",
        "no fallback was answered and no extension was charged after the deadline",
        queries.ANSWERED_IN_TIME,
    ),
    Invariant("5", "the charge of an extension did not fail early", queries.CHARGE_NOT_GIVEN_UP_EARLY),
    Invariant(
        "2",
        "the gateway was called only with what was recorded here before",
        queries.GATEWAY_HAS_ONLY_RECORDED_CALLS,
    ),
    Invariant("2", "the gateway's books agree with ours", queries.GATEWAY_BOOKS_AGREE, quiet=True),
    IN_FLIGHT,
    Invariant("5", "no deadline is overdue by 5 s", queries.NO_DEADLINE_OVERDUE, quiet=True),
)
