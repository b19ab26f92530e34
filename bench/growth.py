"""Measures whether an accept, a message and a page are as fast with many old rows as in a small database.

The run uses two databases in one PostgreSQL, each with its own server. The first database has only the measured people.
The second database also has years of old rows. The rounds alternate between both databases.
"""

from dataclasses import dataclass, field
from typing import Final

from bench.claims import Options
from bench.harness import cpu, load, people
from bench.harness.load import Request
from bench.harness.report import Figure, Peer, Target, median, ratios
from bench.harness.testbed import Connection, Database, Process, Testbed

ROUNDS: Final = 5
CONCURRENCY: Final = 8
ACCEPTS: Final = 500
MESSAGES: Final = 1_000
PAGES: Final = 1_500
# With this number of chats, no customer exceeds the limit of 60 messages per minute.
CHATS: Final = 1_000
# The run reads the pages of these people. The history of these people is longer than one page of chats and one page of
# messages.
READERS: Final = 50
CHATS_PER_READER: Final = 60
MESSAGES_PER_CHAT: Final = 60

# With these constants, 10 million old messages belong to half a million old chats.
_OLD_MESSAGES_PER_CHAT: Final = 20
_OLD_REQUESTS_PER_CHAT: Final = 5
_OLD_CHATS_PER_CUSTOMER: Final = 10
_OLD_CHATS_PER_MITRA: Final = 500
# The old rows are numbered from this number upwards, and the measured people have lower numbers than the old rows.
_FIRST_OLD: Final = 100_000_000
# The readers are numbered from this number upwards, and the people who accept or chat have lower numbers than readers.
_FIRST_READER: Final = 500_000

# $1: first customer. $2: first mitra. $3: first chat. $4: customers. $5: mitras. $6: chats. $7: messages per chat.
# $8: requests per chat. Chat n has ended. The members of chat n are customer n mod $4 and mitra n mod $5.
_CHATS: Final = (
    """
    INSERT INTO payments (id, customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial,
        created_at, expires_at, confirmed_at, closed_at)
    SELECT bench_id(3, $3 + n), bench_id(1, $1 + n % $4), 'session', 'served', bench_id(7, 1), 60, 35000, false,
        at, at + interval '20 minutes', at + interval '1 minute', at + interval '2 minutes'
    FROM old
    """,
    """
    INSERT INTO charge_attempts (id, payment_id, amount_rp, status, started_at, answered_at)
    SELECT bench_id(8, $3 + n), bench_id(3, $3 + n), 35000, 'approved', at, at FROM old
    """,
    """
    INSERT INTO pairings (id, payment_id, customer_id, kind, status, created_at, deadline_at, decided_at)
    SELECT bench_id(4, $3 + n), bench_id(3, $3 + n), bench_id(1, $1 + n % $4), 'blast', 'matched', at,
        at + interval '1 minute', at + interval '10 seconds'
    FROM old
    """,
    """
    INSERT INTO requests (id, pairing_id, mitra_id, status, close_reason, is_returning, offered_at, answered_at)
    SELECT bench_id(5, ($3 + n) * $8 + place), bench_id(4, $3 + n), bench_id(2, $2 + (n + place) % $5),
        CASE place WHEN 0 THEN 'accepted' ELSE 'closed' END, CASE WHEN place > 0 THEN 'already_taken' END,
        false, at, at
    FROM old, generate_series(0, least($8, $5) - 1) AS place
    """,
    """
    INSERT INTO sessions (id, payment_id, pairing_id, customer_id, mitra_id, status, duration_minutes, is_trial,
        started_at, ends_at, ended_at, end_reason)
    SELECT bench_id(6, $3 + n), bench_id(3, $3 + n), bench_id(4, $3 + n), bench_id(1, $1 + n % $4),
        bench_id(2, $2 + n % $5), 'ended', 60, false, at, at + interval '1 hour', at + interval '1 hour', 'time_up'
    FROM old
    """,
    """
    INSERT INTO status_changes (payment_id, entity, entity_id, old_status, new_status, changed_at)
    SELECT bench_id(3, $3 + n), entity, bench_id(kind, $3 + n), old_status, new_status, at
    FROM old, (VALUES
        (3, 'payment', NULL, 'pending'), (3, 'payment', 'pending', 'confirmed'),
        (3, 'payment', 'confirmed', 'served'), (4, 'pairing', NULL, 'open'), (4, 'pairing', 'open', 'matched'),
        (6, 'session', NULL, 'active'), (6, 'session', 'active', 'ended')
    ) AS step (kind, entity, old_status, new_status)
    """,
    """
    INSERT INTO messages (id, session_id, sender, client_message_id, text, sent_at, read_at)
    SELECT bench_id(9, ($3 + n) * $7 + place), bench_id(6, $3 + n),
        CASE place % 2 WHEN 0 THEN 'customer' ELSE 'mitra' END, bench_id(10, ($3 + n) * $7 + place)::text,
        'Terima kasih sudah mau mendengarkan, hari ini berat sekali rasanya.', at, at
    FROM old, generate_series(0, $7 - 1) AS place
    """,
)
# Some statements use only some of the parameters. This condition names all parameters, so that PostgreSQL knows the
# type of each parameter.
_OLD_CHATS: Final = """
WITH old AS (
    SELECT n, curhat_now() - interval '1 year' + n * interval '1 second' AS at
    FROM generate_series(0, $6::bigint - 1) AS n
    WHERE ($1::bigint, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $7::bigint, $8::bigint) IS NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What each round of one load took per request: milliseconds, and microseconds of a processor."""

    milliseconds: list[float] = field(default_factory=list)
    microseconds: list[float] = field(default_factory=list)


async def measure(testbed: Testbed, options: Options) -> list[Figure]:
    """Run each load in rounds that alternate between both databases."""
    async with testbed.database() as small, testbed.database() as large:
        for database, rows in ((small, 0), (large, options.rows)):
            async with database.connect() as connection:
                await _measured_people(connection)
                if rows:
                    await _old_rows(connection, rows)
            await database.settle()
        sizes = [await _megabytes(database) for database in (small, large)]
        taken: dict[str, tuple[_Taken, _Taken]] = {name: (_Taken(), _Taken()) for name in _LOADS}
        async with (
            testbed.server(small) as few,
            testbed.server(large) as many,
            small.connect() as connection,
        ):
            for round_number in range(1 + ROUNDS):
                for name, requests in _LOADS.items():
                    for at, server in enumerate((few, many)):
                        milliseconds, microseconds = await _per_request(
                            connection, server, requests(round_number)
                        )
                        if round_number > 0:  # the first round is the warm-up
                            taken[name][at].milliseconds.append(milliseconds)
                            taken[name][at].microseconds.append(microseconds)
    chats = options.rows // _OLD_MESSAGES_PER_CHAT
    figures: list[Figure] = []
    for name, (with_few, with_many) in taken.items():
        by_processor = ratios(with_many.microseconds, with_few.microseconds)
        note = (
            f"time per request (1 / throughput), {CONCURRENCY} at a time; {chats:,} old sessions; "
            f"{sizes[1]:,.0f} MB compared with {sizes[0]:,.0f} MB; "
            if not figures
            else ""
        )
        figures.append(
            Figure(
                "growth",
                f"{name}, with {options.rows:,} old messages",
                median(with_many.milliseconds),
                "ms",
                Target("ratio", "at most", 1.2),
                Peer("the same with none", median(with_few.milliseconds)),
                f"{note}processor time of server and PostgreSQL {median(with_many.microseconds):,.0f} µs "
                f"compared with {median(with_few.microseconds):,.0f} µs, ratio {median(by_processor):.2f}",
                median(ratios(with_many.milliseconds, with_few.milliseconds)),
            )
        )
    return figures


async def _per_request(
    connection: Connection, server: Process, requests: list[Request]
) -> tuple[float, float]:
    """Return the milliseconds per request, and the microseconds of a processor in the server and in PostgreSQL."""
    before = cpu.seconds_of(server.pid) + await cpu.seconds_of_postgresql(connection)
    answered = await load.each_once(server.address, requests, connections=CONCURRENCY)
    used = cpu.seconds_of(server.pid) + await cpu.seconds_of_postgresql(connection) - before
    answered.only(200, 201)
    return 1000 / answered.per_second, used / len(requests) * 1e6


def _accepts(round_number: int) -> list[Request]:
    first = round_number * (ACCEPTS + CONCURRENCY)
    return [
        Request(
            path=f"/api/mitra/requests/{people.identifier(people.REQUEST, number)}/accept",
            method="POST",
            token=people.token("mitra", number),
            key=f"accept-{number}",
        )
        for number in range(first, first + ACCEPTS + CONCURRENCY)
    ]


def _messages(round_number: int) -> list[Request]:
    requests = []
    for number in range(MESSAGES + CONCURRENCY):
        chat = _FIRST_CHAT + number % CHATS
        requests.append(
            Request(
                path=f"/api/client/sessions/{people.identifier(people.SESSION, chat)}/messages",
                method="POST",
                token=people.token("customer", chat),
                body=f'{{"client_message_id":"{round_number}-{number}","text":"Apa kabar? Ini pesan {number}."}}',
            )
        )
    return requests


def _sessions_pages(_round_number: int) -> list[Request]:
    return [
        Request(path="/api/client/sessions", token=people.token("customer", _FIRST_READER + number % READERS))
        for number in range(PAGES + CONCURRENCY)
    ]


def _messages_pages(_round_number: int) -> list[Request]:
    requests = []
    for number in range(PAGES + CONCURRENCY):
        chat = _FIRST_READER + (number * 37) % (READERS * CHATS_PER_READER)
        requests.append(
            Request(
                path=f"/api/client/sessions/{people.identifier(people.SESSION, chat)}/messages",
                token=people.token("customer", _FIRST_READER + (chat - _FIRST_READER) % READERS),
            )
        )
    return requests


_SEARCHES: Final = (1 + ROUNDS) * (ACCEPTS + CONCURRENCY)
_FIRST_CHAT: Final = _SEARCHES
_LOADS: Final = {
    "accept": _accepts,
    "send a message": _messages,
    "a page of sessions": _sessions_pages,
    "a page of messages": _messages_pages,
}


async def _measured_people(connection: Connection) -> None:
    """Insert the rows of three groups of people.

    One group accepts requests, one group chats, and one group reads its history.
    """
    await people.prepare(connection)
    await people.customers(connection, 0, _SEARCHES + CHATS)
    await people.mitras(connection, 0, _SEARCHES + CHATS)
    await people.searches(connection, 0, _SEARCHES, mitras_per_pairing=1, groups=_SEARCHES)
    await people.chats(connection, _FIRST_CHAT, CHATS)
    await people.customers(connection, _FIRST_READER, READERS)
    await people.mitras(connection, _FIRST_READER, READERS)
    await _chats(
        connection, _FIRST_READER, READERS, READERS, READERS * CHATS_PER_READER, messages=MESSAGES_PER_CHAT
    )


async def _old_rows(connection: Connection, messages: int) -> None:
    chats = messages // _OLD_MESSAGES_PER_CHAT
    customers, mitras = max(1, chats // _OLD_CHATS_PER_CUSTOMER), max(1, chats // _OLD_CHATS_PER_MITRA)
    await people.customers(connection, _FIRST_OLD, customers)
    await people.mitras(connection, _FIRST_OLD, mitras)
    # The old mitras are offline, so no blast asks them.
    await connection.execute("UPDATE mitras SET online = false WHERE id >= bench_id(2, $1)", _FIRST_OLD)
    await _chats(connection, _FIRST_OLD, customers, mitras, chats, messages=_OLD_MESSAGES_PER_CHAT)


async def _chats(
    connection: Connection, first: int, customers: int, mitras: int, chats: int, *, messages: int
) -> None:
    # Disable triggers and foreign keys, because checks of millions of rows would take too long. The statements write
    # only valid rows.
    await connection.execute("SET session_replication_role = replica")
    for statement in _CHATS:
        await connection.execute(
            _OLD_CHATS + statement,
            first,
            first,
            first,
            customers,
            mitras,
            chats,
            messages,
            _OLD_REQUESTS_PER_CHAT,
        )
    await connection.execute("RESET session_replication_role")


async def _megabytes(database: Database) -> float:
    async with database.connect() as connection:
        return float(await connection.fetchval("SELECT pg_database_size(current_database())")) / 1e6
