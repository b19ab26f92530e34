"""Writes the tables of docs/scaling.md from the constants. Each table stands between two comments with its name."""

import re
from functools import partial
from pathlib import Path
from typing import Final

from bench.capacity.calculator import (
    NEVER,
    Habits,
    Load,
    Plan,
    cells_for,
    limits,
    load_of,
    plan_for,
)
from bench.capacity.constants import Constants, Cost

PAGE: Final = Path(__file__).parents[2] / "docs" / "scaling.md"
SIZES: Final = (200, 2_000, 20_000, 100_000, 1_000_000)
# A chat of 30 minutes fits ten times into a busy evening of five hours.
_CHATS_PER_RUNNING_SESSION: Final = 10
_WORK: Final = (
    ("search", "a search"),
    ("card", "a card"),
    ("accept", "an accept"),
    ("message", "a message over the open socket, stored and delivered"),
    ("read", "a mark of what was read"),
    ("session_end", "the end of a session"),
    ("poll", "a poll of availability"),
    ("idle_customer_minute", "a connected customer, per minute"),
    ("waiting_mitra_minute", "a connected mitra, per minute"),
    ("process_minute", "a server and a worker without work, per minute"),
)


def page_with_tables(text: str, constants: Constants) -> str:
    """Return the text of the page with the tables of these constants. Raises ValueError if a table has no place."""
    for name, table in _tables(constants).items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        if block.search(text) is None:
            raise ValueError(f"the page has no place for the table {name}")
        # A function as the replacement keeps backslashes as they are.
        text = block.sub(partial(_filled, table), text)
    return text


def _filled(table: str, found: re.Match[str]) -> str:
    return f"{found[1]}{table}\n{found[2]}"


def _tables(constants: Constants) -> dict[str, str]:
    habits = Habits()
    plans = [plan_for(load_of(sessions, constants, habits), constants) for sessions in SIZES]
    return {
        "constants": _table(
            ("work", "server µs", "worker µs", "PostgreSQL µs", "Valkey µs", "WAL bytes", "Valkey commands"),
            [(title, *_cells_of(getattr(constants, name))) for name, title in _WORK],
        ),
        "memory": (
            f"Measured on {constants.measured_at[:10]}, {constants.machine}; other programs used "
            f"{constants.busy_share:.0%} of the processors.\n\n"
            f"- memory: {constants.process_mib:.0f} MiB per server process, {constants.customer_socket_kib:.1f} KiB "
            f"per socket of a customer, {constants.mitra_socket_kib:.1f} KiB per socket of a mitra\n"
            f"- kept for years, with indexes: {constants.kept_bytes_per_session:,.0f} bytes per session, "
            f"{constants.kept_bytes_per_card:,.0f} per card, {constants.kept_bytes_per_message:,.0f} per message\n"
            f"- kept for a day: {constants.day_bytes_per_message:,.0f} bytes per message\n"
            f"- a message costs a server process that holds neither side {constants.bystander_us:.0f} µs"
        ),
        "sizes for the owner": _table(
            ("running sessions", "chats per evening", "servers", "database", "more disk per month"),
            [
                (
                    f"{plan.load.sessions:,}",
                    f"{plan.load.sessions * _CHATS_PER_RUNNING_SESSION:,}",
                    _machines(plan),
                    _database(plan, constants, habits),
                    _bytes(plan.disk_bytes_per_month),
                )
                for plan in plans
            ],
        ),
        "sizes": _table(
            (
                "running sessions",
                "starts / messages / cards / polls per s",
                "sockets",
                "server processes",
                "memory",
                "workers",
                "PostgreSQL processors",
                "WAL per s",
                "Valkeys",
                "cells",
            ),
            [
                (
                    f"{plan.load.sessions:,}",
                    _rates(plan.load),
                    f"{plan.load.customer_sockets + plan.load.mitra_sockets:,.0f}",
                    "no number" if plan.server_processes is None else f"{plan.server_processes:,}",
                    f"{plan.server_memory_gib:,.1f} GiB",
                    f"{plan.worker_processes:,}",
                    f"{plan.postgresql_cores:,}",
                    _bytes(plan.load.wal_bytes),
                    f"{plan.valkeys:,}",
                    f"{cells_for(plan.load.sessions, constants, habits):,}",
                )
                for plan in plans
            ],
        ),
        "limits": _table(
            ("order", "running sessions", "limit of one cell", "what moves it"),
            [
                (
                    str(number),
                    "never" if limit.sessions == NEVER else f"{limit.sessions:,}",
                    limit.what,
                    limit.moves,
                )
                for number, limit in enumerate(limits(constants, habits), start=1)
            ],
        ),
    }


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _cells_of(cost: Cost) -> tuple[str, ...]:
    numbers = (cost.server_us, cost.worker_us, cost.postgresql_us, cost.valkey_us, cost.wal_bytes)
    return (*(f"{number:,.0f}" for number in numbers), f"{cost.valkey_commands:,.1f}")


def _rates(load: Load) -> str:
    return f"{load.starts:,.1f} / {load.messages:,.0f} / {load.cards:,.0f} / {load.polls:,.0f}"


def _machines(plan: Plan) -> str:
    if plan.server_machines is None:
        return "signals must first go only where people are"
    if plan.server_processes == 2:
        return "1 small machine, which also holds the database; a second one in case it fails"
    return f"{plan.server_machines:,} machines of 8 processors"


def _database(plan: Plan, constants: Constants, habits: Habits) -> str:
    cells = cells_for(plan.load.sessions, constants, habits)
    if cells > 1:
        return f"{cells:,} cells, together {plan.postgresql_cores:,} processors"
    return f"one PostgreSQL with {plan.postgresql_cores:,} processors, and a standby"


def _bytes(number: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number / 1e3:,.1f} kB"
