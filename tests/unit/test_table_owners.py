"""Check that each table belongs to one package. This file lists the statements that use another package's table, with
the reasons.

The tests check these lists against the migrations and every queries.sql. Some Python code adds conditions to a
statement. The test does not check the tables in such conditions. If a CTE has the name of a table, the test cannot
distinguish the CTE from the table. So a CTE must not have the name of a table.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from curhat.dev.statements import SOURCES, StatementError, parse

ROOT = Path(__file__).parents[2]

OWNERS = {
    "people": "accounts",
    "customers": "accounts",
    "mitras": "accounts",
    "one_time_codes": "accounts",
    "code_days": "accounts",
    "access_tokens": "accounts",
    "known_devices": "accounts",
    "development_inbox": "accounts",
    "idempotency_keys": "kit",
    "audit_entries": "kit",
    "configuration": "configuration",
    "configuration_changes": "configuration",
    "texts": "content",
    "current_texts": "content",
    "acceptances": "content",
    "help_line_versions": "content",
    "offers": "pricing",
    "payments": "payments",
    "charge_attempts": "payments",
    "refunds": "payments",
    "refused_refunds": "payments",
    "undelivered_charges": "payments",
    "unanswered_calls": "payments",
    "review_cases": "payments",
    "earlier_decisions": "payments",
    "book_differences": "payments",
    "closed_days": "payments",
    "status_changes": "payments",
    "mock_gateway.charges": "payments",
    "mock_gateway.refunds": "payments",
    "mock_gateway.behaviours": "payments",
    "pairings": "pairing",
    "requests": "pairing",
    "failed_pairing_events": "pairing",
    "sessions": "sessions",
    "messages": "sessions",
    "extensions": "sessions",
    "blocks": "safety",
    "ratings": "safety",
    "rating_sums": "safety",
    "canned_answers": "notebook",
    "customer_notes": "notebook",
    "reports": "safety",
    "held_sessions": "safety",
    "notices": "safety",
    "transcript_requests": "control_center",
    "seen_payments": "journeys",
    "streams": "realtime",
    "stream_events": "realtime",
    "deadlines": "deadlines",
    "hourly_counts": "control_center",
    "mitra_hours": "control_center",
    "mitra_hours_kept": "control_center",
    "what_ifs": "control_center",
    "operators": "control_center",
    "operator_recovery_codes": "control_center",
    "operator_links": "control_center",
    "operator_tokens": "control_center",
    "operator_sign_in_tries": "control_center",
    "push_subscriptions": "notifications",
    "push_messages": "notifications",
    "exports": "privacy",
    "restores": "app",
    "erasures": "privacy",
    "erased_phones": "accounts",
}

# The keys are (package, statement). The values list the used tables of other packages, with the reasons. The statement
# "*" stands for all statements of the package that only read the table. The table "*" stands for all tables that the
# statement reads. A statement that writes a table must be listed with its own name and the table's name.
Reasons = Mapping[tuple[str, str], Mapping[str, str]]

_WITH_ITS_CHANGE = "the audit entry is written in the transaction of the change"
_LIST = "operators look through the rows of all packages"
_OPERATORS_DECIDE = "a person makes a report, and an operator decides it"
_PRESENCE = "presence owns the columns that decide whether a mitra can be asked: toggle, capacity, last seen"
_ONE_STATEMENT = "all rows of an accept change in one statement (decision 0007)"

EXCEPTIONS: Reasons = {
    ("configuration", "change_value"): {"audit_entries": _WITH_ITS_CHANGE},
    ("notifications", "*"): {
        "access_tokens": "a person who has signed out everywhere gets no push",
        "people": "subscribing locks the person, so that each person has at most ten subscriptions",
    },
    ("notifications", "write_mitra_seen"): {
        "mitras": "subscribing to push shows that the mitra's app is in use (1.1)"
    },
    ("presence", "*"): {"mitras": _PRESENCE},
    ("presence", "set_intent"): {"mitras": _PRESENCE},
    ("presence", "begin_break"): {"mitras": _PRESENCE},
    ("presence", "release_places"): {"mitras": _PRESENCE},
    ("presence", "write_last_seen"): {"mitras": _PRESENCE},
    ("sessions", "*"): {
        "mitras": "an extension depends on the mitra's toggle, and a session shows the mitra's name",
        "customers": "a session shows the customer's name",
        "charge_attempts": "the gateway's answer names the attempt, and the session of its extension is locked first",
    },
    ("safety.reports", "*"): {
        "sessions": "a person reports only the other member of an own session",
        "messages": "a report needs the chat's text, and marks messages of the chat",
    },
    ("safety.blocks", "*"): {
        "sessions": "a block is only for the two members of a session",
        "mitras": "a list of blocks shows the mitra's name",
        "customers": "a list of blocks shows the customer's call name",
    },
    ("safety.ratings", "*"): {
        "sessions": "a customer rates only an own session that has ended",
        "messages": "a customer rates only a session in which both sides wrote",
    },
    ("notebook", "*"): {
        "sessions": "a mitra writes a note only about the customer of an own session",
        "customers": "nobody reads or writes a note about a deleted account",
    },
    ("privacy.erasure", "*"): {"*": "an erasure looks for what all packages hold of a person"},
    ("pairing", "*"): {
        "mitras": "only mitras who can take a customer are asked, and a pairing shows the mitra's name",
        "customers": "a request shows the customer's name",
        "payments": "a pairing is opened under its payment, and shown with it",
        "sessions": "a pairing is shown with its session, and a request says whether the two have a past chat",
        "review_cases": "a failed pairing's event refers to the case of its payment",
        "blocks": "two of whom one has blocked the other are never paired",
    },
    ("payments", "insert_lost_payment"): {
        "offers": "a payment of which only the charge is known needs the terms of an offer"
    },
    ("journeys", "*"): {"*": "a step that spans packages compares the rows of all these packages"},
    ("journeys", "accept_and_start"): {
        "payments": _ONE_STATEMENT,
        "pairings": _ONE_STATEMENT,
        "requests": _ONE_STATEMENT,
        "sessions": _ONE_STATEMENT,
    },
    ("journeys", "finish_accept"): {
        "mitras": "the last statement of an accept saves two round trips (decision 0052)",
        "idempotency_keys": "the last statement of an accept saves two round trips (decision 0052)",
    },
    ("journeys", "mark_recovered"): {
        "failed_pairing_events": "an accept knows that the fallback of a failed pairing succeeded"
    },
    ("journeys", "refuse_if_decided"): {
        "idempotency_keys": "one statement refuses a losing accept and stores its answer (decision 0052)"
    },
    ("control_center.help_lines", "*"): {
        "*": "a version is shown with the operators who proposed and published it"
    },
    ("control_center.audit", "*"): {"*": _LIST},
    ("control_center.dashboard", "*"): {"*": _LIST},
    ("control_center.records", "*"): {"*": _LIST},
    ("control_center.review", "*"): {"*": _LIST},
    ("control_center.texts", "*"): {"*": _LIST},
    ("control_center.what_if", "*"): {"*": "a replay reads the past of all packages"},
    ("control_center.search", "*"): {"*": _LIST},
    ("control_center.reports", "*"): {"*": _LIST},
    ("control_center.transcripts", "*"): {"*": _LIST},
    ("control_center.reports", "decide_report"): {"reports": _OPERATORS_DECIDE},
    ("control_center.reports", "approve_suspension"): {"reports": _OPERATORS_DECIDE},
    ("control_center.reports", "refuse_suspension"): {"reports": _OPERATORS_DECIDE},
    ("control_center.reports", "decide_appeal"): {"reports": _OPERATORS_DECIDE},
    ("control_center.review", "decide_case"): {
        "review_cases": "payments opens a case, and an operator decides it"
    },
    ("control_center.review", "approve_refund"): {
        "review_cases": "payments opens a case, and an operator decides it"
    },
    ("control_center.operators", "is_token_of_customer_or_mitra"): {
        "access_tokens": "the Control Center answers such a token with 403 instead of 401"
    },
    ("app.closing", "*"): {"closed_days": "app closes a day, because the invariants are in app"},
    ("app.closing", "insert_closed_day"): {
        "closed_days": "app closes a day, because the invariants are in app"
    },
    ("privacy.export", "*"): {"*": "an export reads the person's own rows of all packages"},
    ("privacy.retention", "*"): {"*": "retention looks for the oldest row of each class of data"},
    ("privacy.retention", "prune_notices"): {
        "notices": "the table of classes says how long notices are kept"
    },
    ("privacy.retention", "prune_ratings"): {
        "ratings": "the table of classes says how long ratings are kept"
    },
    ("privacy.retention", "prune_reports"): {
        "reports": "the table of classes says how long reports are kept"
    },
    ("app.operations", "*"): {"*": "the metrics count the rows of all packages"},
    ("dev.simulate", "*"): {
        "*": "the simulation checks invariants of all packages, and counts the results of a run"
    },
}

# UPWARD has the form of EXCEPTIONS, but lists tables of a higher package. A lower package should not depend on a higher
# package, so UPWARD stays short.
UPWARD: Reasons = {
    ("privacy.retention", "list_overdue"): {
        "operator_tokens": "the metric shows the oldest row of each class of data, also of the operators' classes",
        "operator_sign_in_tries": "the metric shows the oldest row of each class, also of the operators' classes",
    },
    ("sessions", "*"): {
        "held_sessions": "text that a report holds is not deleted, and the view says what is held"
    },
}

_SAVES_A_ROUND_TRIP = "one statement instead of two saves a round trip while the journey is locked"

# The following statements arm or disarm deadlines directly, for the given reasons. All other code calls
# deadlines.service.
DEADLINE_WRITERS: Mapping[tuple[str, str], str] = {
    ("journeys", "accept_and_start"): _SAVES_A_ROUND_TRIP,
    ("pairing", "open_blast"): _SAVES_A_ROUND_TRIP,
    ("pairing", "open_targeted"): _SAVES_A_ROUND_TRIP,
    ("pairing", "fail_pairings_with_fallback"): _SAVES_A_ROUND_TRIP,
}

_TOKEN = re.compile(r"[a-z_][\w.]*|[(),]", re.IGNORECASE)
_NOT_CODE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_NO_TABLE_FOLLOWS = re.compile(r"\b(?:(?:for|key|do)\s+update|distinct\s+from)\b", re.IGNORECASE)
# After each of these words, the list of tables in a FROM or USING clause has ended.
_ENDS_LIST = {
    "where",
    "group",
    "order",
    "set",
    "returning",
    "having",
    "limit",
    "offset",
    "union",
    "for",
    "select",
}


class TableUse(NamedTuple):
    """One read or write of a table by a statement."""

    package: str
    statement: str
    table: str
    kind: Literal["read", "write"]


def tables_of(sql: str) -> Iterator[tuple[str, Literal["read", "write"]]]:
    """Yield each use of a table in a statement, with the table and the kind of the use (read or write)."""
    code = _NO_TABLE_FOLLOWS.sub(" for ", _NOT_CODE.sub(" ", sql))
    before = ""
    # Both lists have one element per open parenthesis. The last element of `expects` is true if the next word is a
    # table. The last element of `lists` is true if a table follows the next comma.
    expects, lists = [False], [False]
    kind: Literal["read", "write"] = "read"
    for token in map(str.lower, _TOKEN.findall(code)):
        if token == "(":
            expects[-1] = False
            expects.append(False)
            lists.append(False)
        elif token == ")":
            expects.pop()
            lists.pop()
        elif token == ",":
            expects[-1] = lists[-1]
            kind = "read"
        elif token in ("from", "join", "using", "into", "update"):
            is_write = token in ("into", "update") or (token, before) == ("from", "delete")
            kind = "write" if is_write else "read"
            expects[-1] = True
            if token != "join":
                lists[-1] = token in ("from", "using")
        elif token in _ENDS_LIST:
            expects[-1] = lists[-1] = False
        elif expects[-1] and token not in ("only", "lateral"):
            expects[-1] = False
            if token in OWNERS:
                yield token, kind
        before = token


def _table_uses() -> set[TableUse]:
    found = set()
    for path in sorted(SOURCES.rglob("queries.sql")):
        package = ".".join(path.parent.relative_to(SOURCES).parts)
        try:
            statements = parse(path).statements
        except StatementError as error:
            if "the result must be one of" in str(error):
                continue
            raise
        for statement in statements:
            found |= {TableUse(package, statement.name, *touched) for touched in tables_of(statement.sql)}
    return found


TABLE_USES = _table_uses()


def _layers() -> dict[str, int]:
    """Return the level of each package. Level 0 is the lowest level."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    names = [layer.strip("()") for layer in contract["layers"]]
    return {name: height for height, name in enumerate(reversed(names))}


LAYERS = _layers()


def _is_upward(use: TableUse) -> bool:
    return LAYERS[OWNERS[use.table]] > LAYERS[use.package.split(".")[0]]


def _foreign() -> set[TableUse]:
    """Return the uses of other packages' tables.

    Writes to deadlines are left out, because DEADLINE_WRITERS lists them.
    """
    return {
        use
        for use in TABLE_USES
        if OWNERS[use.table] != use.package.split(".")[0] and (use.table, use.kind) != ("deadlines", "write")
    }


def _covers(key: tuple[str, str], table: str, use: TableUse) -> bool:
    package, statement = key
    if use.kind == "write":
        return (package, statement, table) == (use.package, use.statement, use.table)
    return package == use.package and statement in ("*", use.statement) and table in ("*", use.table)


def _differences(listed: Reasons, uses: set[TableUse]) -> tuple[set[TableUse], set[tuple[str, str, str]]]:
    """Return the uses that `listed` does not cover, and the entries of `listed` that cover no use."""
    entries = [(key, table) for key, tables in listed.items() for table in tables]
    unlisted = {use for use in uses if not any(_covers(key, table, use) for key, table in entries)}
    stale = {(*key, table) for key, table in entries if not any(_covers(key, table, use) for use in uses)}
    return unlisted, stale


def test_every_table_and_view_has_an_owner() -> None:
    schema = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "migrations").glob("*.sql"))
    made = set(re.findall(r"^CREATE (?:TABLE|VIEW) (?:IF NOT EXISTS )?([\w.]+)", schema, re.MULTILINE))
    assert made == OWNERS.keys()
    assert set(OWNERS.values()) <= LAYERS.keys()


def test_every_use_of_a_table_of_a_lower_package_is_listed() -> None:
    downward = {use for use in _foreign() if not _is_upward(use)}
    assert _differences(EXCEPTIONS, downward) == (set(), set())


def test_every_use_of_a_table_of_a_higher_package_is_listed() -> None:
    upward = {use for use in _foreign() if _is_upward(use)}
    assert _differences(UPWARD, upward) == (set(), set())


def test_only_the_deadlines_package_and_the_listed_statements_write_deadlines() -> None:
    writers = {
        (use.package, use.statement)
        for use in TABLE_USES
        if (use.table, use.kind) == ("deadlines", "write") and use.package != "deadlines"
    }
    assert writers == DEADLINE_WRITERS.keys()


def test_every_listed_exception_has_a_reason() -> None:
    reasons = [
        reason for listed in (EXCEPTIONS, UPWARD) for tables in listed.values() for reason in tables.values()
    ]
    assert all(reason.strip() for reason in (*reasons, *DEADLINE_WRITERS.values()))


@pytest.mark.parametrize(
    ("sql", "touched"),
    [
        (
            "SELECT 1 FROM payments AS p, LATERAL (SELECT 1 FROM refunds) AS r, offers",
            "payments refunds offers",
        ),
        (
            "WITH locked AS (SELECT 1 FROM people) SELECT 1 FROM locked JOIN mitras USING (id)",
            "people mitras",
        ),
        ("INSERT INTO deadlines (kind) VALUES (@kind) ON CONFLICT DO UPDATE SET kind = 'a'", "DEADLINES"),
        ("SELECT 1 FROM payments JOIN refunds USING (a, b), offers", "payments refunds offers"),
        ("DELETE FROM requests USING pairings WHERE true", "REQUESTS pairings"),
        ("UPDATE mitras SET online = true FROM people WHERE true", "MITRAS people"),
        ("SELECT extract(epoch FROM ends_at), count(*) AS refunds FROM sessions FOR UPDATE", "sessions"),
        ("SELECT id FROM sessions WHERE a IS DISTINCT FROM b ORDER BY payments, messages", "sessions"),
        ("SELECT 'FROM refunds' AS text -- FROM offers\nFROM mock_gateway.charges", "mock_gateway.charges"),
    ],
)
def test_the_parser_finds_the_tables_that_a_statement_reads_and_writes(sql: str, touched: str) -> None:
    found = {table.upper() if kind == "write" else table for table, kind in tables_of(sql)}
    assert found == set(touched.split())
