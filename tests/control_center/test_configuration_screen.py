"""Test that operators see and change the five configuration rows, and that every change is recorded."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

KEYS = [
    "pairing_blast_timeout_seconds",
    "payment_session_timeout_minutes",
    "returning_chat_confirmation_timeout_seconds",
    "extension_timeout_seconds",
    "extension_default_action_on_timeout",
]
BLAST = "/configuration/pairing_blast_timeout_seconds"


async def _row(operator: Person, key: str) -> Any:
    rows = (await operator.get("/configuration")).json()["items"]
    return {row["key"]: row for row in rows}[key]


async def _put(operator: Person, key: str, value: object, expected: object | None = None) -> httpx.Response:
    expected = expected or (await _row(operator, key))["updated_at"]
    return await operator.put(f"/configuration/{key}", {"value": value, "expected_updated_at": expected})


@pytest.mark.rule("X.5", "4.5", "5.2", "2a.5")
async def test_exactly_five_configuration_rows_are_listed_with_explanation_and_bounds(
    server: RunningServer,
) -> None:
    viewer = await server.operator("viewer")
    rows = (await viewer.get("/configuration")).json()["items"]
    assert [row["key"] for row in rows] == KEYS
    for row in rows:
        assert set(row) == {
            *("key", "label", "explanation", "unit", "type", "default", "minimum", "maximum", "choices"),
            *("value", "updated_at", "updated_by"),
        }
        assert len(row["explanation"]) > 80
        assert row["value"] == row["default"]
    bounds = {row["key"]: (row["minimum"], row["maximum"]) for row in rows if row["type"] == "integer"}
    assert list(bounds.values()) == [(10, 600), (1, 120), (5, 120), (5, 60)]
    assert rows[-1]["choices"] == ["auto_reject", "auto_approve"]


@pytest.mark.rule("X.5")
async def test_a_change_takes_effect_and_is_recorded_in_the_history_and_the_audit(
    server: RunningServer,
) -> None:
    admin = await server.operator("admin", "sari@example.id")
    changed = await _put(admin, KEYS[0], 90)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["value"], changed.json()["updated_by"]) == (90, "sari@example.id")
    await _put(admin, KEYS[4], "auto_reject")
    history = (await admin.get(f"{BLAST}/history")).json()["items"]
    assert [(change["old_value"], change["new_value"], change["changed_by"]) for change in history] == [
        (60, 90, "sari@example.id")
    ]
    audit = await server.database.fetchrow(
        "SELECT actor, subject_id, old_value, new_value FROM audit_entries WHERE action = 'configuration_changed'"
        " ORDER BY id LIMIT 1"
    )
    assert audit is not None
    assert tuple(audit) == (str(admin.id), KEYS[0], "60", "90")
    # The next search uses the changed value.
    customer = await server.customer()
    async with server.available_mitra():
        offer = {"offer_id": str(await server.make.offer())}
        payment_id = (await customer.post("/payments", offer)).json()["id"]
        pairing = (await customer.post(f"/payments/{payment_id}/confirm")).json()["pairing"]
    seconds = await server.database.fetchval(
        "SELECT extract(epoch FROM deadline_at - created_at)::integer FROM pairings WHERE id::text = $1",
        pairing["id"],
    )
    assert seconds == 90


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (KEYS[0], 9),
        (KEYS[0], 601),
        (KEYS[0], "60"),
        (KEYS[1], 0),
        (KEYS[2], 121),
        (KEYS[3], 4),
        (KEYS[4], "auto_maybe"),
        (KEYS[4], 1),
    ],
)
async def test_a_value_out_of_bounds_is_refused(server: RunningServer, key: str, value: object) -> None:
    admin = await server.operator()
    refused = await _put(admin, key, value)
    assert problem(refused) == (422, "validation_failed")
    assert refused.json()["errors"][0]["field"] == "value"
    assert await server.database.fetchval("SELECT count(*) FROM configuration_changes") == 0


async def test_a_change_based_on_an_old_value_is_refused_with_the_current_value(
    server: RunningServer,
) -> None:
    sari, dewi = await server.operator("admin", "sari@example.id"), await server.operator("admin")
    seen = (await _row(dewi, KEYS[0]))["updated_at"]
    await _put(sari, KEYS[0], 90)
    refused = await _put(dewi, KEYS[0], 120, seen)
    assert problem(refused) == (409, "changed_meanwhile")
    assert refused.json()["value"] == 90
    assert (await _row(dewi, KEYS[0]))["value"] == 90


async def test_only_one_of_two_concurrent_changes_of_a_row_is_accepted(server: RunningServer) -> None:
    sari, dewi = await server.operator(), await server.operator()
    seen = (await _row(dewi, KEYS[0]))["updated_at"]
    answers = await asyncio.gather(_put(sari, KEYS[0], 90, seen), _put(dewi, KEYS[0], 120, seen))
    assert sorted(map(problem, answers), key=str) == [(200, None), (409, "changed_meanwhile")]
    assert await server.database.fetchval("SELECT count(*) FROM configuration_changes") == 1


async def test_an_unknown_row_is_not_found(server: RunningServer) -> None:
    admin = await server.operator()
    body = {"value": 1, "expected_updated_at": "2026-01-01T00:00:00Z"}
    assert problem(await admin.put("/configuration/price_rp", body)) == (404, "not_found")
    assert problem(await admin.get("/configuration/price_rp/history")) == (404, "not_found")
