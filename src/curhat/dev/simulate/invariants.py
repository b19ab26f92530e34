"""What must hold in the database: each a query in queries.sql that returns the rows that break it.

The numbers are those of docs/rules.md: 1 to 12 are its invariants, the others its rules. `check` runs them all in
one statement, so that all look at the same moment; it may run at any moment, beside everything else.

Those marked `quiet` hold only when nobody does anything any more and the deadlines that were due have fired. Queries
that take `$1` can be told to look at some people only (their ids, as customer or mitra): a database that others use
as well has no quiet, and an operator may have changed the capacity of its mitras.
"""

from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import msgspec

from curhat.kit.database import load_queries

SQL = load_queries(__file__)

# How many rows that break one invariant are shown.
ROWS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must hold. `query` returns the rows for which it does not."""

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


class Reader(Protocol):
    """A connection, a transaction, or a Database."""

    def fetch(self, query: str, *arguments: Any) -> Coroutine[Any, Any, list[asyncpg.Record]]:
        """All rows of one statement."""


async def check(
    reader: Reader, *, quiet: bool = False, people: Collection[UUID] | None = None
) -> list[Violation]:
    """What is broken now; with `quiet`, also of what holds only then. `people`: whom to look at (None: all)."""
    invariants = [invariant for invariant in INVARIANTS if quiet or not invariant.quiet]
    return await violations_of(invariants, reader, people)


async def violations_of(
    invariants: Sequence[Invariant], reader: Reader, people: Collection[UUID] | None
) -> list[Violation]:
    """What breaks these invariants now."""
    parts = [
        f"(SELECT {index} AS index, to_jsonb(broken)::text AS row FROM ({invariant.query}) AS broken"  # noqa: S608
        f" LIMIT {ROWS_SHOWN})"
        for index, invariant in enumerate(invariants)
    ]
    # One that does not ask whom to look at leaves $1 without a type.
    parts.append("(SELECT 0, NULL WHERE $1::uuid[] IS NULL AND false)")
    rows = await reader.fetch("\nUNION ALL\n".join(parts), None if people is None else list(people))
    return [Violation(invariants[row["index"]], msgspec.json.decode(row["row"])) for row in rows]


INVARIANTS: tuple[Invariant, ...] = (
    Invariant("1", "a pairing has at most one winner", SQL.one_winner),
    Invariant("1", "a payment has at most one session", SQL.one_session_a_payment),
    Invariant(
        "1", "a matched pairing, its winner and its session tell the same story", SQL.winner_and_session_agree
    ),
    Invariant("2", "a payment has at most one charge", SQL.one_charge_a_payment),
    Invariant(
        "2",
        "what a payment costs is charged if and only if it is confirmed; Rp0 never reaches the gateway",
        SQL.charged_as_confirmed,
    ),
    Invariant(
        "9", "an approval that came too late is given back, once and in full", SQL.late_approval_refunded
    ),
    Invariant("3", "no session without a confirmed payment", SQL.session_was_paid),
    Invariant("3", "no pairing without a confirmed payment", SQL.pairing_was_paid),
    Invariant(
        "4",
        "a confirmed payment is served, in flight or failed, and exactly one of them",
        SQL.served_in_flight_or_failed,
    ),
    Invariant(
        "4", "each failed attempt has its event, and no other attempt has one", SQL.failed_attempt_has_event
    ),
    Invariant(
        "4",
        "a payment that was taken and not served has its tag and its one case, and nothing of it is recovered",
        SQL.failed_payment_has_tag_and_case,
    ),
    Invariant(
        "4",
        "a payment that was served has no failure but a recovered one, and no case for a missing session",
        SQL.served_payment_did_not_fail,
    ),
    Invariant(
        "2a.4",
        "a payment that was never taken has an event if and only if it expired, and no case for it",
        SQL.unpaid_payment_expired,
    ),
    Invariant(
        "X.8",
        "a session that was cut short has a case, and no other has one for that",
        SQL.cut_short_has_case,
    ),
    Invariant(
        "3.5",
        "a payment has one blast, or one attempt with its chosen mitra and one blast that was taken after it",
        SQL.targeted_then_one_blast,
    ),
    Invariant(
        "3.9", "nobody was asked whom a pairing leaves out or does not mean", SQL.only_who_is_meant_was_asked
    ),
    Invariant(
        "3.8",
        "a fallback that nobody answered is logged as expired, not early, and no other is",
        SQL.fallback_expired_has_event,
    ),
    Invariant(
        "7",
        "an extension is charged once if and only if it was approved, and not before",
        SQL.extension_money,
    ),
    Invariant("7", "a payment of an extension has its extension", SQL.extension_payment_has_extension),
    Invariant(
        "7",
        "an extension was decided as its terms say, and never approved by a mitra who was not there",
        SQL.extension_decided_as_its_terms_say,
    ),
    Invariant(
        "5.7",
        "a session's end is its start, its own time and the extensions that were paid",
        SQL.session_lengthened_by_what_was_paid,
    ),
    Invariant(
        "5.7",
        "an open extension is the one that its running session knows",
        SQL.open_extension_holds_its_session,
    ),
    Invariant(
        "X.8",
        "what was added to a session that was cut short has a case, and no other extension has one for that",
        SQL.extension_cut_short_has_case,
    ),
    Invariant("5", "a window that ran out was not closed early", SQL.window_not_closed_early),
    Invariant("5", "a payment did not expire early", SQL.payment_not_expired_early),
    Invariant("5", "a session was not ended by the clock early", SQL.session_not_ended_early),
    Invariant("5", "nobody accepted at or after the deadline", SQL.accepted_in_time),
    Invariant("5", "nobody cancelled, confirmed or ended after the time for it", SQL.done_in_time),
    Invariant("5", "whatever waits for a deadline has one armed", SQL.deadline_armed),
    Invariant("5", "no deadline is parked", SQL.no_deadline_parked),
    Invariant(
        "6",
        "the history of each status is one unbroken chain that ends at what the row says",
        SQL.history_unbroken,
    ),
    Invariant("8", "a mitra's count of sessions is the number of its sessions", SQL.sessions_counted),
    Invariant("8", "no mitra ever had more sessions at once than it takes", SQL.capacity_never_exceeded),
    Invariant("10", "a stream's events are numbered without gaps up to its head", SQL.stream_without_gaps),
    Invariant(
        "2a.8",
        "a customer has one journey at a time: one open payment, or one running session",
        SQL.one_journey_at_a_time,
    ),
    Invariant("2a.3", "a customer has one trial", SQL.one_trial),
    Invariant("2b.6", "nobody is asked by, or paired with, themselves", SQL.not_with_oneself),
    Invariant("X.8", "a message was sent while its session ran", SQL.message_within_session),
    Invariant("3.9", "a fallback never asked the mitra who let the customer down", SQL.fallback_leaves_out),
    Invariant("4.4", "a mitra who went away is not waited for", SQL.lost_is_seen_to),
    Invariant(
        "5", "nobody answered about a fallback, or for a charge, after the time for it", SQL.answered_in_time
    ),
    Invariant("5", "the charge of an extension was not given up early", SQL.charge_not_given_up_early),
    Invariant(
        "2",
        "the gateway was asked for nothing that was not written down here",
        SQL.gateway_knows_no_more_than_we,
    ),
    Invariant("2", "the gateway's own books say the same as ours", SQL.gateway_books_agree, quiet=True),
    Invariant("4", "nothing is in flight", SQL.nothing_in_flight, quiet=True),
    Invariant("5", "no deadline is overdue by 5 s", SQL.no_deadline_overdue, quiet=True),
)

# What a run waits for before everything else is looked at.
IN_FLIGHT: Invariant = next(invariant for invariant in INVARIANTS if invariant.query == SQL.nothing_in_flight)
