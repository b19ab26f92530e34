"""The counts of a run, the progress display, and the report at the end."""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args
from uuid import UUID

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from curhat.app.invariants import INVARIANTS, Violation
from curhat.dev.simulate import queries
from curhat.kit.database import Database

# The activities of a customer, in the order of a journey.
Phase = Literal["away", "signing in", "looking", "paying", "searching", "chatting", "resting", "done"]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)

# The maximum number of faults, and of violations, that the report shows. The report counts all faults and violations.
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
        # The number of targeted searches with each outcome, of fallback popups with each answer, and of extensions with
        # each answer.
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
        self.sent_over_socket = 0
        self.message_delays: list[float] = []
        self.comparisons = 0
        self.not_compared = 0
        self.fault_count = 0
        self.faults: list[str] = []  # the first MAX_FAULTS_SHOWN

    def fault(self, sentence: str) -> None:
        """Count a fault, such as a 5xx answer, or a device that differs from a snapshot."""
        self.fault_count += 1
        if self.fault_count <= MAX_FAULTS_SHOWN:
            self.faults.append(sentence)

    def seconds(self) -> float:
        """The seconds since the run began."""
        return time.monotonic() - self.begun


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile of the `values`, for example the median if `share` is 0.5.

    This function needs at least one value.
    """
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
    """Return the progress in one line."""
    phases = Counter(tally.phases.values())
    shown = ", ".join(f"{phases[phase]} {phase}" for phase in PHASES if phases[phase])
    return (
        f"{tally.seconds():5.0f} s  {tally.stage}; connected: {_connected(tally)}; {shown or 'nobody yet'}; "
        f"{tally.journeys} journeys, {tally.matched} matched, {tally.unmatched.total()} not; "
        f"{len(tally.message_delays)} messages shown; {tally.fault_count} errors"
    )


def progress_screen(tally: Tally) -> Panel:
    """Return the progress as a screen."""
    phases = Counter(tally.phases.values())
    table = _two_columns()
    table.add_row("connected", _connected(tally))
    table.add_row("customers", _counted({phase: phases[phase] for phase in PHASES}))
    table.add_row("journeys", f"{tally.journeys} begun, {tally.matched} matched")
    table.add_row("not matched", _counted(tally.unmatched))
    table.add_row(
        "messages",
        f"{tally.messages_sent} sent ({tally.sent_over_socket} over sockets), "
        f"{len(tally.message_delays)} shown in time",
    )
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

    # The counts of each subject (payments, failures, session ends, charges, targeted pairings, fallbacks, extensions)
    # per outcome.
    counts: Mapping[str, dict[str, int]]
    money: queries.SumMoneyRow
    seconds_to_accept: list[float]


async def read_outcome(database: Database, customer_ids: Sequence[UUID]) -> Outcome:
    """Read the results of the journeys of these customers."""
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in await queries.count_outcomes(database, customer_ids=customer_ids):
        counts[row.subject][row.name] = row.count
    return Outcome(
        counts=counts,
        money=await queries.sum_money(database, customer_ids=customer_ids),
        seconds_to_accept=await queries.list_seconds_to_accept(database, customer_ids=customer_ids),
    )


def report(title: str, tally: Tally, outcome: Outcome, violations: Sequence[Violation], seed: int) -> Group:
    """Return the whole report."""
    counts, money = outcome.counts, outcome.money
    table = _two_columns()
    table.add_row("journeys", f"{sum(counts['payments'].values())}: {_counted(counts['payments'])}")
    table.add_row("", f"{money.trials} free trials served; taken {_rupiah(money.taken_rp)}")
    table.add_row("failed, by tag", _counted(counts["failures"]))
    table.add_row("sessions ended by", _counted(counts["session ends"]))
    table.add_row("charges", _counted(counts["charges"]))
    if tally.charges_that_got_lost:
        table.add_row("", f"never got to the gateway, and made again: {tally.charges_that_got_lost}")
    table.add_row("the same bestie", _counted(counts["targeted pairings"]))
    table.add_row("", f"at the tap: {_counted(tally.returns)}")
    table.add_row("fallbacks", _counted(counts["fallbacks"]))
    table.add_row("", f"answers to the popup: {_counted(tally.popups)}")
    table.add_row("extensions", _counted(counts["extensions"]))
    table.add_row("", f"taken {_rupiah(money.extensions_rp)}; answers: {_counted(tally.extension_answers)}")
    table.add_row("confirm to accept", _spread(outcome.seconds_to_accept, "s", 1))
    table.add_row("answers to cards", _counted(tally.accepts))
    table.add_section()
    table.add_row("messages", f"{tally.messages_sent} sent, {tally.sent_over_socket} of them over sockets")
    table.add_row("sent to shown", _spread(tally.message_delays, "ms", 1000))
    table.add_section()
    table.add_row("requests", f"{tally.requests}; answers lost on purpose: {tally.answers_not_waited_for}")
    table.add_row("refused as expected", _counted(tally.refusals))
    table.add_row(
        "network",
        f"lost on purpose {tally.networks_lost}; streams resumed {tally.resumed}, from a snapshot {tally.restored}",
    )
    table.add_row("", f"sockets closed by code: {_counted(tally.closes)}")
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


def _counted(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"


def _verdict(count: int, none: str) -> Text:
    return Text(f"{count} BROKEN", style="bold red") if count else Text(none, style="green")


def _spread(values: Sequence[float], unit: str, factor: float) -> str:
    if not values:
        return "none"
    shown = ", ".join(
        f"p{share} {_short(percentile(values, share / 100) * factor)} {unit}" for share in (50, 95, 99)
    )
    return f"{shown} ({len(values)})"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _rupiah(amount: int) -> str:
    return f"Rp{amount:,}".replace(",", ".")
