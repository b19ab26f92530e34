"""Measures every list, filter, page, detail, dashboard and chart of the operators with 500,000 sessions.

The requests are derived from the API's contract: each GET under /api/control-center/, each value of each filter, the
first page and a later page. A filter that is new in the contract is therefore measured too. The run fails if the
contract has a filter for which this file knows no value.

Two databases hold a year of payments each. One has 5,000 sessions, and the other has 500,000 sessions. The requests
alternate between them.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from bench.claims import Options
from bench.harness import cpu, people
from bench.harness.records import (
    CASE,
    COMMON_NAME,
    OPERATOR_EMAIL,
    OPERATOR_TOKEN,
    RARE_NAME,
    REPORT,
    WHAT_IF,
    Records,
    year_of,
)
from bench.harness.report import Figure, Peer, Target, median, quantity
from bench.harness.sockets import Http
from bench.harness.testbed import Connection, Database, Process, Testbed

SESSIONS: Final = 500_000
FEW_SESSIONS: Final = 5_000
TRIES: Final = 9
# The later page is the page after this number of pages.
LATER_PAGE: Final = 20
LIMIT_MILLISECONDS: Final = 60
CONTRACT: Final = Path(__file__).parents[1] / "contracts" / "openapi.json"
PREFIX: Final = "/api/control-center/"
# The parameters that choose a page or a format are no filters. The format `csv` streams the whole list.
_NO_FILTERS: Final = frozenset({"cursor", "format"})


class UnknownParameter(Exception):
    """The contract has a parameter for which this file knows no value."""


@dataclass(frozen=True, slots=True)
class Question:
    """One measured GET: its operation, its path, and its query parameters."""

    operation: str
    path: str
    query: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The path with the query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def after(self, cursor: str) -> "Question":
        """Return the same question for the page after the cursor."""
        return Question(self.operation, self.path, (*self.query, ("cursor", cursor)))


@dataclass(slots=True)
class Answers:
    """What each try of one question took, in the small and in the large database."""

    few: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)


def values_of(records: Records, now: datetime) -> dict[str, tuple[str, ...]]:
    """Return the values of each path parameter and of each filter that is not an enumeration."""
    served, failed = records.number_of_payment(4), records.number_of_payment(29)
    payment, session = people.identifier(people.PAYMENT, served), people.identifier(people.SESSION, served)
    return {
        "payment_id": (str(payment),),
        "session_id": (str(session),),
        "case_id": (str(people.identifier(CASE, failed)),),
        # Customer 0 has the most sessions.
        "customer_id": (str(people.identifier(people.CUSTOMER, 0)),),
        "mitra_id": (str(people.identifier(people.MITRA, 0)),),
        "report_id": (str(people.identifier(REPORT, served)),),
        "what_if_id": (str(people.identifier(WHAT_IF, 1)),),
        "kind": ("code_of_conduct",),
        "version": ("1",),
        "key": ("pairing_blast_timeout_seconds",),
        "q": (COMMON_NAME, RARE_NAME, "+6281000000077", str(payment), "nobody has this name"),
        "from": ((now - timedelta(days=1)).isoformat(), (now - timedelta(days=300)).isoformat()),
        "to": ((now - timedelta(days=300)).isoformat(), now.isoformat()),
        # The answers of mitras are listed for at most 31 days.
        "list_mitra_answers.from": tuple((now - timedelta(days=days)).isoformat() for days in (1, 30)),
        "list_mitra_answers.to": (now.isoformat(),),
        "minimum_amount_rp": ("1", "20000", "35001"),
        "maximum_amount_rp": ("0", "10000", "35000"),
        "actor": ("system", OPERATOR_EMAIL, "nobody"),
        "action": ("case_decided", "list_exported"),
        "subject": ("case", "mitra"),
        "subject_id": (str(payment), "nothing"),
    }


def questions(contract: Mapping[str, Any], values: Mapping[str, tuple[str, ...]]) -> list[Question]:
    """Return each GET of the Control Center without a filter, and then with each value of each filter.

    Raises UnknownParameter if the contract has a parameter for which `values` has no value.
    """
    found: list[Question] = []
    for path, operations in contract["paths"].items():
        if not path.startswith(PREFIX) or "get" not in operations:
            continue
        operation = operations["get"]
        parameters = operation.get("parameters", [])
        actual_path = path
        for parameter in parameters:
            if parameter["in"] == "path":
                value = _values(operation, parameter, values)[0]
                actual_path = actual_path.replace(f"{{{parameter['name']}}}", value)
        plain = Question(operation["operationId"], actual_path)
        required = tuple(
            (parameter["name"], _values(operation, parameter, values)[0])
            for parameter in parameters
            if parameter["in"] == "query" and parameter.get("required")
        )
        found.append(Question(plain.operation, plain.path, required))
        found += [
            Question(plain.operation, plain.path, (*required, (parameter["name"], value)))
            for parameter in parameters
            if parameter["in"] == "query"
            and parameter["name"] not in _NO_FILTERS
            and not parameter.get("required")
            for value in _values(operation, parameter, values)
        ]
    return found


def _values(
    operation: Mapping[str, Any], parameter: Mapping[str, Any], values: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    # Some operations accept only some values of a filter.
    own = f"{operation['operationId']}.{parameter['name']}"
    if own in values:
        return values[own]
    schema = parameter["schema"]
    schemas = [schema, *schema.get("oneOf", ())]
    for each in schemas:
        if "enum" in each:
            return tuple(value for value in each["enum"] if value is not None)
        if each.get("type") == "boolean":
            return ("true", "false")
    if parameter["name"] not in values:
        raise UnknownParameter(
            f"bench/lists.py has no value for {parameter['name']} of {operation['operationId']}"
        )
    return values[parameter["name"]]


async def measure(testbed: Testbed, _options: Options) -> list[Figure]:
    """Ask each question TRIES times in both databases, in turn."""
    contract = json.loads(CONTRACT.read_text(encoding="utf-8"))
    async with testbed.database() as small, testbed.database() as large:
        few_questions, _ = await _load(small, FEW_SESSIONS, contract)
        many_questions, loading_seconds = await _load(large, SESSIONS, contract)
        answers: dict[Question, Answers] = {}
        async with (
            testbed.server(small) as few,
            testbed.server(large) as many,
            large.connect() as connection,
        ):
            clients = Http(few.address, 1), Http(many.address, 1)
            for pair in zip(few_questions, many_questions, strict=True):
                answers[pair[1]] = await _ask(clients, *pair)
                later = [
                    await _later(client, question) for client, question in zip(clients, pair, strict=True)
                ]
                if later[0] is not None and later[1] is not None:
                    answers[later[1]] = await _ask(clients, later[0], later[1])
            used = await _processor_time(connection, many, clients[1], list(answers))
            for client in clients:
                client.close()
    return _figures(answers, used, loading_seconds)


async def _load(
    database: Database, sessions: int, contract: Mapping[str, Any]
) -> tuple[list[Question], float]:
    """Fill the database. Return its questions, and how many seconds the loading took."""
    began = time.monotonic()
    async with database.connect() as connection:
        records = await year_of(connection, sessions)
        now = await connection.fetchval("SELECT curhat_now()")
    await database.settle()
    return questions(contract, values_of(records, now)), time.monotonic() - began


async def _ask(clients: tuple[Http, Http], small: Question, large: Question) -> Answers:
    """Ask both databases in turn. The first try is the warm-up."""
    answers = Answers()
    for number in range(1 + TRIES):
        for client, question, taken in (
            (clients[0], small, answers.few),
            (clients[1], large, answers.many),
        ):
            began = time.perf_counter()
            await _answer(client, question)
            if number > 0:
                taken.append((time.perf_counter() - began) * 1000)
    return answers


async def _answer(client: Http, question: Question) -> dict[str, Any]:
    status, body = await client.request("GET", question.url, OPERATOR_TOKEN)
    if status != 200:
        raise RuntimeError(f"{question.url}: {status} {body.decode()}")
    answer = json.loads(body)
    return answer if isinstance(answer, dict) else {}


async def _later(client: Http, question: Question) -> Question | None:
    """Return the question for a later page, or for the last page that has a predecessor. None: there is one page."""
    later = None
    page = question
    for _ in range(LATER_PAGE):
        cursor = (await _answer(client, page)).get("next_cursor")
        if not cursor:
            break
        later = page = question.after(cursor)
    return later


async def _processor_time(
    connection: Connection, server: Process, client: Http, asked: list[Question]
) -> float:
    """Return the milliseconds of a processor per question, in the server and in PostgreSQL."""
    before = cpu.seconds_of(server.pid) + await cpu.seconds_of_postgresql(connection)
    for question in asked:
        await _answer(client, question)
    used = cpu.seconds_of(server.pid) + await cpu.seconds_of_postgresql(connection) - before
    return used / len(asked) * 1000


def _figures(answers: dict[Question, Answers], used: float, loading_seconds: float) -> list[Figure]:
    """Return one figure per operation: the slowest of its filters and pages."""
    figures: list[Figure] = []
    for operation in dict.fromkeys(question.operation for question in answers):
        of_operation = {
            question: taken for question, taken in answers.items() if question.operation == operation
        }
        slowest = max(of_operation, key=lambda question: median(of_operation[question].many))
        others = sorted(median(taken.many) for taken in of_operation.values())
        figures.append(
            Figure(
                "lists",
                f"{operation}, p50 with {SESSIONS:,} sessions",
                median(of_operation[slowest].many),
                "ms",
                Target("figure", "at most", LIMIT_MILLISECONDS),
                Peer(f"the same with {FEW_SESSIONS:,}", median(of_operation[slowest].few)),
                f"the slowest of {len(of_operation)} filters and pages"
                f" ({_filters(slowest)}); median of all {quantity(median(others), 'ms')}",
            )
        )
    ratios = [median(taken.many) / median(taken.few) for taken in answers.values()]
    figures.append(
        Figure(
            "lists",
            f"all of them, p50 with {SESSIONS:,} sessions",
            median([median(taken.many) for taken in answers.values()]),
            "ms",
            Target("ratio", "at most", 1.5),
            Peer(
                f"the same with {FEW_SESSIONS:,}", median([median(taken.few) for taken in answers.values()])
            ),
            f"{len(answers)} questions, {TRIES} tries each in turn; the ratio is the median of their ratios; "
            f"processor time of server and PostgreSQL {used:.1f} ms each; loading took {loading_seconds:.0f} s",
            median(ratios),
        )
    )
    return figures


def _filters(question: Question) -> str:
    given = ", ".join(
        "a later page" if name == "cursor" else f"{name}={value}" for name, value in question.query
    )
    return given or "without a filter"
