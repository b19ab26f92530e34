"""Computes the load of a number of running sessions, its machines, and the limits in the order in which they come.

Every number is a rate per second, and every rate is proportional to the number of running sessions, except two. A blast
asks at most BLAST_WAVE mitras at once, so cards grow with sessions and mitras until then. If every server process hears
of every message, this work grows with sessions and processes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

from bench.capacity.constants import Constants, Cost

# A processor is planned with this share, so that a burst does not wait, and so that one machine can fail.
USABLE_SHARE: Final = 0.6
# A server with one thread of commands, such as Valkey, waits much sooner than it is full.
VALKEY_USABLE_SHARE: Final = 0.7
PROCESSES_PER_MACHINE: Final = 8
# The largest machine for one PostgreSQL that is easy to rent, and the WAL that it can write and send to a standby.
POSTGRESQL_CORES: Final = 64
WAL_BYTES_PER_SECOND: Final = 150e6
# What one PostgreSQL holds before a backup and a new standby take more than a day.
DISK_BYTES: Final = 20e12
# Connections of PostgreSQL, and connections per process. Above it, PgBouncer shares connections.
CONNECTIONS: Final = 500
CONNECTIONS_PER_PROCESS: Final = 10
# A blast asks at most so many mitras at once (rule 2b.6).
BLAST_WAVE: Final = 500
POLL_SECONDS: Final = 5
BUSY_HOURS_PER_DAY: Final = 5


@dataclass(frozen=True, slots=True)
class Habits:
    """What people do. These are assumptions: change them when there are figures of real evenings."""

    session_minutes: float = 30
    # Both sides together.
    messages_per_minute: float = 6
    reads_per_message: float = 0.5
    # People with the open app and without a session, per running session.
    idle_customers: float = 2
    # Mitras who could take a customer now, per running session.
    waiting_mitras: float = 0.1
    # Sessions per mitra in a session.
    sessions_per_mitra: float = 1.5


@dataclass(frozen=True, slots=True)
class Load:
    """The load of a number of running sessions: per second, in processors, bytes and commands."""

    sessions: int
    starts: float
    messages: float
    cards: float
    polls: float
    customer_sockets: float
    mitra_sockets: float
    server_cores: float
    worker_cores: float
    postgresql_cores: float
    valkey_cores: float
    wal_bytes: float
    valkey_commands: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit: at how many running sessions it comes, and what moves it."""

    sessions: int
    what: str
    moves: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The machines for a load. `server_processes` is None if no number of processes is enough."""

    load: Load
    server_processes: int | None
    worker_processes: int
    postgresql_cores: int
    valkeys: int
    server_memory_gib: float
    disk_bytes_per_month: float

    @property
    def server_machines(self) -> int | None:
        """Machines of PROCESSES_PER_MACHINE processors, with one more for a failure."""
        if self.server_processes is None:
            return None
        return math.ceil(self.server_processes / PROCESSES_PER_MACHINE) + 1


def load_of(sessions: int, constants: Constants, habits: Habits) -> Load:
    """Compute the load of so many running sessions."""
    starts = sessions / (habits.session_minutes * 60)
    messages = sessions * habits.messages_per_minute / 60
    idle_customers, waiting = sessions * habits.idle_customers, sessions * habits.waiting_mitras
    busy_mitras = sessions / habits.sessions_per_mitra
    polls = idle_customers / POLL_SECONDS
    cards = starts * min(max(waiting, 1), BLAST_WAVE)
    work = [
        (constants.search, starts),
        (constants.card, cards),
        (constants.accept, starts),
        (constants.session_end, starts),
        (constants.message, messages),
        (constants.read, messages * habits.reads_per_message),
        (constants.poll, polls),
        (constants.idle_customer_minute, (idle_customers + sessions) / 60),
        (constants.waiting_mitra_minute, (waiting + busy_mitras) / 60),
    ]

    def total(read: Callable[[Cost], float]) -> float:
        return sum(read(cost) * rate for cost, rate in work)

    return Load(
        sessions=sessions,
        starts=starts,
        messages=messages,
        cards=cards,
        polls=polls,
        customer_sockets=idle_customers + sessions,
        mitra_sockets=waiting + busy_mitras,
        server_cores=total(lambda cost: cost.server_us) / 1e6,
        worker_cores=total(lambda cost: cost.worker_us) / 1e6,
        postgresql_cores=total(lambda cost: cost.postgresql_us) / 1e6,
        valkey_cores=total(lambda cost: cost.valkey_us) / 1e6,
        wal_bytes=total(lambda cost: cost.wal_bytes),
        valkey_commands=total(lambda cost: cost.valkey_commands),
    )


def processes_for(load: Load, constants: Constants) -> int | None:
    """Return the number of server processes, or None if hearing of all messages fills every process."""
    idle = constants.process_minute.server_us / 60e6
    left = USABLE_SHARE - idle - load.messages * constants.bystander_us / 1e6
    return max(2, math.ceil(load.server_cores / left)) if left > 0 else None


def plan_for(load: Load, constants: Constants) -> Plan:
    """Compute the machines for the load."""
    processes = processes_for(load, constants)
    sockets_kib = (
        load.customer_sockets * constants.customer_socket_kib
        + load.mitra_sockets * constants.mitra_socket_kib
    )
    per_month = 30 * BUSY_HOURS_PER_DAY * 3600
    kept = (
        load.starts * constants.kept_bytes_per_session
        + load.cards * constants.kept_bytes_per_card
        + load.messages * constants.kept_bytes_per_message
    )
    return Plan(
        load=load,
        server_processes=processes,
        worker_processes=max(2, math.ceil(load.worker_cores / USABLE_SHARE)),
        postgresql_cores=max(2, math.ceil(load.postgresql_cores / USABLE_SHARE)),
        valkeys=max(1, math.ceil(load.valkey_cores / VALKEY_USABLE_SHARE)),
        server_memory_gib=(sockets_kib / 1024 + (processes or 0) * constants.process_mib) / 1024,
        disk_bytes_per_month=kept * per_month,
    )


def limits(constants: Constants, habits: Habits) -> list[Limit]:
    """Return the limits of one cell, the first first."""

    def load(sessions: int) -> Load:
        return load_of(sessions, constants, habits)

    def plan(sessions: int) -> Plan:
        return plan_for(load(sessions), constants)

    def processes(sessions: int) -> float:
        return plan(sessions).server_processes or math.inf

    found = [
        Limit(
            _first(lambda sessions: load(sessions).valkey_cores > VALKEY_USABLE_SHARE),
            "one Valkey: its one thread of commands is full",
            "several Valkeys: one for presence and availability, and further ones for signals, by person",
        ),
        Limit(
            _first(lambda sessions: load(sessions).postgresql_cores > POSTGRESQL_CORES * USABLE_SHARE),
            f"one PostgreSQL: {POSTGRESQL_CORES} processors are not enough",
            "larger batches per transaction, smaller waves of a blast, and then cells",
        ),
        Limit(
            _first(lambda sessions: load(sessions).wal_bytes > WAL_BYTES_PER_SECOND),
            f"one PostgreSQL: it writes more than {WAL_BYTES_PER_SECOND / 1e6:.0f} MB of WAL per second",
            "fewer indexes on cards and messages, and then cells",
        ),
        Limit(
            _first(lambda sessions: processes(sessions) * CONNECTIONS_PER_PROCESS > CONNECTIONS),
            f"connections: more than {CONNECTIONS} connections to PostgreSQL",
            "PgBouncer in the mode of transactions, as in docs/operating.md",
        ),
        Limit(
            _first(lambda sessions: processes(sessions) == math.inf),
            "fan-out: each server process spends its time on messages of people that it does not hold",
            "signals only to the processes that hold the person",
        ),
        Limit(
            _first(lambda sessions: plan(sessions).disk_bytes_per_month * 12 > DISK_BYTES),
            f"disk: more than {DISK_BYTES / 1e12:.0f} TB after a year",
            "delete or move old cards and messages when their retention is over, and then cells",
        ),
    ]
    return sorted(found, key=lambda limit: limit.sessions)


NEVER: Final = 2**40


def _first(is_beyond: Callable[[int], bool]) -> int:
    """Return the lowest number of sessions at which the condition holds. It holds for every higher number too."""
    if not is_beyond(NEVER):
        return NEVER
    low, high = 0, NEVER
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_beyond(middle) else (middle, high)
    return high


def cells_for(sessions: int, constants: Constants, habits: Habits) -> int:
    """Return how many cells share the sessions, if a cell has several Valkeys, PgBouncer and directed signals.

    A cell is full when its one PostgreSQL is full.
    """
    postgresql = [
        limit.sessions
        for limit in limits(constants, habits)
        if limit.what.startswith(("one PostgreSQL", "disk"))
    ]
    return math.ceil(sessions / min(postgresql))


def describe(sessions: int, constants: Constants, habits: Habits) -> list[str]:
    """Return the lines that the command prints."""
    load = load_of(sessions, constants, habits)
    plan = plan_for(load, constants)
    processes = "no number is enough" if plan.server_processes is None else f"{plan.server_processes:,}"
    machines = (
        ""
        if plan.server_machines is None
        else f", {plan.server_machines:,} machines of {PROCESSES_PER_MACHINE}"
    )
    per_month = f"{plan.disk_bytes_per_month / 1e9:,.0f} GB more disk per month"
    lines = [
        f"{sessions:,} running sessions",
        "  assumed: " + ", ".join(f"{item.name} {getattr(habits, item.name):g}" for item in fields(habits)),
        f"  per second: {load.starts:,.1f} sessions start, {load.messages:,.0f} messages",
        f"  per second: {load.cards:,.0f} cards, {load.polls:,.0f} polls",
        f"  sockets: {load.customer_sockets:,.0f} of customers, {load.mitra_sockets:,.0f} of mitras",
        f"  server processes: {processes}{machines}; {plan.server_memory_gib:,.1f} GiB of memory together",
        f"  worker processes: {plan.worker_processes:,}",
        f"  PostgreSQL: {plan.postgresql_cores:,} processors, {load.wal_bytes / 1e6:,.1f} MB of WAL per second",
        f"  PostgreSQL: {per_month}, with {BUSY_HOURS_PER_DAY} such hours per day",
        f"  Valkey: {plan.valkeys:,} of one processor each, {load.valkey_commands:,.0f} commands per second",
    ]
    cells = cells_for(sessions, constants, habits)
    lines.append(f"  cells, each with its own PostgreSQL: {cells:,}")
    lines.append("what limits one cell, in order:")
    for number, limit in enumerate(limits(constants, habits), start=1):
        at = "at no number of sessions" if limit.sessions == NEVER else f"at {limit.sessions:,} sessions"
        lines.append(f"  {number}. {at}: {limit.what}. What moves it: {limit.moves}.")
    return lines
