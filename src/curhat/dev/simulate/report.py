"""The counts of a run, the progress display, and the report at the end."""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from typing import Final, Literal
from uuid import UUID

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from curhat.dev.simulate import queries
from curhat.dev.simulate.invariants import INVARIANTS, Violation
from curhat.kit.database import Database

# What a customer is doing, in the order of a journey.
Phase = Literal["away", "signing in", "looking", "paying", "searching", "chatting", "resting", "done"]
PHASES: Final[tuple[Phase, ...]] = (
    "away",
    "signing in",
    "looking",
    "paying",
    "searching",
    "chatting",
    "resting",
    "done",
)

# How many faults, and how many violations, the report shows. It only counts the rest.
MAX_FAULTS_SHOWN: Final = 12
SCREEN_INTERVAL_SECONDS: Final = 0.25
LINE_INTERVAL_SECONDS: Final = 5.0


class Tally:
    """The counts of a run."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.stage = "preparing"
        self.phases: dict[int, Phase] = {}
        self.connected: Counter[str] = Counter()
        self.requests = 0
        self.refusals: Counter[str] = Counter()
        self.network_errors = 0
        self.answers_not_waited_for = 0
        self.charges_that_got_lost = 0
        self.journeys = 0
        self.matched = 0
        self.unmatched: Counter[str] = Counter()
        self.accepts: Counter[str] = Counter()
        # The answers to the tap on "Curhat lagi", to its popup, and to extensions.
        self.returns: Counter[str] = Counter()
        self.popups: Counter[str] = Counter()
        self.extension_answers: Counter[str] = Counter()
        self.networks_lost = 0
        self.resumed = 0
        self.restored = 0
        self.closes: Counter[int] = Counter()
        self.events = 0
        self.cards = 0
        self.hellos_after_ping = 0
        self.messages_sent = 0
        self.message_delays: list[float] = []
        self.comparisons = 0
        self.not_compared = 0
        self.fault_count = 0
        self.faults: deque[str] = deque(maxlen=MAX_FAULTS_SHOWN)

    def fault(self, sentence: str) -> None:
        """Count something that must not happen: a 5xx, a broken protocol, a client that differs from a snapshot."""
        self.fault_count += 1
        if self.fault_count <= MAX_FAULTS_SHOWN:
            self.faults.append(sentence)

    def seconds(self) -> float:
        """The seconds since the run began."""
        return time.monotonic() - self.begun


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of the values do not exceed. None when there are no values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


# Progress ---------------------------------------------------------------------------------------------------


async def show_progress(tally: Tally, console: Console) -> None:
    """Show the progress until cancelled: a live screen on a terminal, otherwise a line every few seconds."""
    if not console.is_terminal:
        while True:
            console.print(progress_line(tally), soft_wrap=True, highlight=False)
            await asyncio.sleep(LINE_INTERVAL_SECONDS)
    with Live(progress_screen(tally), console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(progress_screen(tally), refresh=True)
            await asyncio.sleep(SCREEN_INTERVAL_SECONDS)


def progress_line(tally: Tally) -> str:
    """The progress in one line."""
    phases = Counter(tally.phases.values())
    standing = ", ".join(f"{phases[phase]} {phase}" for phase in PHASES if phases[phase])
    return (
        f"{tally.seconds():5.0f} s  {tally.stage}; connected: {_connected(tally)}; {standing or 'nobody yet'}; "
        f"{tally.journeys} journeys, {tally.matched} matched, {tally.unmatched.total()} not; "
        f"{len(tally.message_delays)} messages shown; {tally.fault_count} errors"
    )


def progress_screen(tally: Tally) -> Panel:
    """The progress as a screen."""
    phases = Counter(tally.phases.values())
    table = _two_columns()
    table.add_row("connected", _connected(tally))
    table.add_row("customers", _counted({phase: phases[phase] for phase in PHASES}))
    table.add_row("journeys", f"{tally.journeys} begun, {tally.matched} matched")
    table.add_row("not matched", _counted(tally.unmatched) or "none")
    table.add_row("messages", f"{tally.messages_sent} sent, {len(tally.message_delays)} shown in time")
    table.add_row(
        "network", f"lost {tally.networks_lost}, resumed {tally.resumed}, from a snapshot {tally.restored}"
    )
    table.add_row("requests", f"{tally.requests}, refused {tally.refusals.total()}")
    table.add_row("errors", Text(str(tally.fault_count), style="bold red" if tally.fault_count else "green"))
    return Panel(table, title=f"{tally.stage}, {tally.seconds():.0f} s", title_align="left", width=100)


def _connected(tally: Tally) -> str:
    return f"{tally.connected['customer']} devices of customers, {tally.connected['mitra']} of mitras"


# The report -------------------------------------------------------------------------------------------------


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The results of the journeys of this run's customers, from the database."""

    payments: dict[str, int]
    trials: int
    taken_rp: int
    failures: dict[str, int]
    ends: dict[str, int]
    charges: dict[str, int]
    targeted: dict[str, int]
    fallbacks: dict[str, int]
    extensions: dict[str, int]
    extensions_rp: int
    seconds_to_accept: list[float]


async def read_outcome(database: Database, customer_ids: Collection[UUID]) -> Outcome:
    """Read the results of the journeys of these customers."""
    ids = list(customer_ids)
    payments = await queries.count_payments(database, customer_ids=ids)
    failures = await queries.count_failures(database, customer_ids=ids)
    ends = await queries.count_session_ends(database, customer_ids=ids)
    charges = await queries.count_charge_attempts(database, customer_ids=ids)
    targeted = await queries.count_targeted_outcomes(database, customer_ids=ids)
    fallbacks = await queries.count_fallback_outcomes(database, customer_ids=ids)
    extensions = await queries.count_extension_outcomes(database, customer_ids=ids)
    return Outcome(
        payments={each.status: each.payments for each in payments},
        trials=sum(each.trials for each in payments if each.status in ("served", "refunded")),
        taken_rp=sum(each.taken_rp or 0 for each in payments),
        failures={each.tag: each.events for each in failures},
        ends={each.end_reason or "still running": each.sessions for each in ends},
        charges={each.status: each.attempts for each in charges},
        targeted={each.outcome: each.pairings for each in targeted},
        fallbacks={each.outcome: each.pairings for each in fallbacks},
        extensions={each.outcome: each.extensions for each in extensions},
        extensions_rp=sum(each.taken_rp or 0 for each in extensions),
        seconds_to_accept=await queries.list_seconds_to_accept(database, customer_ids=ids),
    )


def report(title: str, tally: Tally, outcome: Outcome, violations: Sequence[Violation], seed: int) -> Group:
    """The whole report."""
    table = _two_columns()
    table.add_row("journeys", f"{sum(outcome.payments.values())}: {_counted(outcome.payments)}")
    table.add_row("", f"{outcome.trials} free trials served; taken {_rupiah(outcome.taken_rp)}")
    table.add_row("failed, by tag", _counted(outcome.failures) or "none")
    table.add_row("sessions ended by", _counted(outcome.ends) or "none")
    table.add_row("charges", _counted(outcome.charges) or "none")
    if tally.charges_that_got_lost:
        table.add_row("", f"never got to the gateway, and made again: {tally.charges_that_got_lost}")
    table.add_row("the same bestie", _counted(outcome.targeted) or "none")
    table.add_row("", f"at the tap: {_counted(tally.returns) or 'none'}")
    table.add_row("fallbacks", _counted(outcome.fallbacks) or "none")
    table.add_row("", f"answers to the popup: {_counted(tally.popups) or 'none'}")
    table.add_row("extensions", _counted(outcome.extensions) or "none")
    table.add_row(
        "", f"taken {_rupiah(outcome.extensions_rp)}; answers: {_counted(tally.extension_answers) or 'none'}"
    )
    table.add_row("confirm to accept", _spread(outcome.seconds_to_accept, "s", 1))
    table.add_row("answers to cards", _counted(tally.accepts) or "none")
    table.add_section()
    table.add_row("messages", f"{tally.messages_sent} sent")
    table.add_row("sent to shown", _spread(tally.message_delays, "ms", 1000))
    table.add_section()
    table.add_row("requests", f"{tally.requests}; answers lost on purpose: {tally.answers_not_waited_for}")
    table.add_row("refused as expected", _counted(tally.refusals) or "none")
    table.add_row(
        "network",
        f"lost on purpose {tally.networks_lost}; streams resumed {tally.resumed}, from a snapshot {tally.restored}",
    )
    table.add_row("", f"sockets closed by code: {_counted(tally.closes) or 'none'}")
    table.add_row("", f"connections that failed and were tried again: {tally.network_errors}")
    table.add_row(
        "events",
        f"{tally.events} of streams, {tally.cards} cards; hello sent again {tally.hellos_after_ping}",
    )
    table.add_row("pictures compared", f"{tally.comparisons}; could not be: {tally.not_compared}")
    table.add_section()
    table.add_row("unexpected errors", _verdict(tally.fault_count, "none"))
    for fault in tally.faults:
        table.add_row("", Text(fault))
    if tally.fault_count > len(tally.faults):
        table.add_row("", f"and {tally.fault_count - len(tally.faults)} more")
    broken = {violation.invariant.title for violation in violations}
    table.add_row("invariants", _verdict(len(broken), f"all {len(INVARIANTS)} hold"))
    for violation in violations[:MAX_FAULTS_SHOWN]:
        table.add_row("", Text(str(violation)))
    if len(violations) > MAX_FAULTS_SHOWN:
        table.add_row("", f"and {len(violations) - MAX_FAULTS_SHOWN} more rows")
    clean = not broken and not tally.fault_count
    ending = Text(
        f"{'clean' if clean else 'NOT CLEAN'}: {tally.seconds():.0f} s, seed {seed}",
        style="bold green" if clean else "bold red",
    )
    return Group(Panel(table, title=title, title_align="left"), ending)


def _two_columns() -> Table:
    table = Table(show_header=False, box=None, pad_edge=False, expand=True)
    table.add_column(style="bold", no_wrap=True, width=21)
    table.add_column(ratio=1)
    return table


def _counted(counts: "dict[str, int] | Counter[str] | Counter[int] | dict[Phase, int]") -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)


def _verdict(count: int, none: str) -> Text:
    return Text(f"{count} BROKEN", style="bold red") if count else Text(none, style="green")


def _spread(values: Sequence[float], unit: str, factor: float) -> str:
    if not values:
        return "none"
    shown = ", ".join(
        f"{name} {_short((percentile(values, share) or 0) * factor)} {unit}"
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    )
    return f"{shown} ({len(values)})"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _rupiah(amount: int) -> str:
    return f"Rp{amount:,}".replace(",", ".")
