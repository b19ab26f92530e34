"""Test that operators find people, payments and everything else by whatever a caller reads out."""

from typing import Any
from uuid import UUID

import pytest

from tests.support.cases import make_failed_search
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem


async def _search(operator: Person, q: str) -> list[dict[str, Any]]:
    answer = await operator.get("/search", q=q)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    assert len(items) <= 20
    return items


async def _kinds(operator: Person, q: str) -> list[tuple[str, str]]:
    return [(item["kind"], item["id"]) for item in await _search(operator, q)]


@pytest.mark.rule("X.12")
async def test_a_payment_is_found_by_the_reference_that_its_customer_reads_out(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    failed = await make_failed_search(server, call_name="Melati")
    reference = failed.payment_id.hex[-8:].upper()
    for written in (
        reference,
        reference.lower(),
        f"  {reference[:4]} {reference[4:]} ",
        f"{reference[:4]}-{reference[4:]}",
        f"#{reference}",
    ):
        items = await _search(viewer, written)
        assert [(item["kind"], item["id"], item["label"]) for item in items] == [
            ("payment", str(failed.payment_id), reference)
        ], written
        assert "Melati" in items[0]["detail"]
        assert "Rp20.000" in items[0]["detail"]


async def test_a_customer_is_found_by_a_phone_number_in_any_spelling(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    failed = await make_failed_search(server, call_name="Melati")
    await make_failed_search(server, call_name="Mawar")
    phone: str = await server.database.fetchval(
        "SELECT phone_number FROM people WHERE id = $1", failed.customer_id
    )
    local = phone.removeprefix("+62")
    for written in (
        phone,
        f"62{local}",
        f"0{local}",
        f"0{local[:3]}-{local[3:7]}-{local[7:]}",
        f"+62 {local[:3]} {local[3:]}",
    ):
        items = await _search(viewer, written)
        assert [(item["kind"], item["id"]) for item in items] == [
            ("customer", str(failed.customer_id)),
            ("payment", str(failed.payment_id)),
        ], written
        assert phone not in str(items)
        assert items[0]["label"] == "Melati"


async def test_customers_and_mitras_are_found_by_the_beginning_of_their_names(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    customer_id = await server.make.customer("Melati")
    mitra_id = await server.make.mitra()
    await server.database.execute("UPDATE mitras SET display_name = 'Melia 100%' WHERE id = $1", mitra_id)
    assert set(await _kinds(viewer, "meL")) == {("customer", str(customer_id)), ("mitra", str(mitra_id))}
    assert await _kinds(viewer, "melia 100%") == [("mitra", str(mitra_id))]
    assert await _kinds(viewer, "%") == []
    assert await _kinds(viewer, "   ") == []
    assert problem(await viewer.get("/search"))[0] == 422
    assert problem(await viewer.get("/search", q="x" * 201))[0] == 422


async def test_everything_is_found_by_its_id_and_leads_to_its_payment(server: RunningServer) -> None:
    viewer = await server.operator("viewer")
    mitra_id = await server.make.mitra()
    failed = await make_failed_search(server, asked=[mitra_id])
    chat = await server.chat(await server.make.customer(), mitra_id)
    ids: dict[str, UUID] = {
        "payment": failed.payment_id,
        "case": failed.case_id,
        "session": chat.id,
        "mitra": mitra_id,
        "pairing": await server.database.fetchval("SELECT id FROM pairings"),
        "request": await server.database.fetchval("SELECT id FROM requests"),
        "charge": await server.database.fetchval(
            "SELECT id FROM charge_attempts WHERE payment_id = $1", failed.payment_id
        ),
        "failed_pairing": await server.database.fetchval("SELECT id FROM failed_pairing_events"),
    }
    for kind, searched_id in ids.items():
        for written in (str(searched_id), searched_id.hex.upper()):
            (item,) = await _search(viewer, written)
            expected = {"mitra": None, "session": str(chat.payment_id)}.get(kind, str(failed.payment_id))
            assert (item["kind"], item["id"], item["payment_id"]) == (kind, str(searched_id), expected)
    # The end of the id, as the Control Center shows it.
    for kind in ("case", "session", "mitra"):
        assert await _kinds(viewer, str(ids[kind])[-8:]) == [(kind, str(ids[kind]))]
    shown = await _kinds(viewer, str(failed.customer_id)[-8:])
    assert shown == [("customer", str(failed.customer_id)), ("payment", str(failed.payment_id))]


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT id FROM payments WHERE right(id::text, 8) = $1", "payments_by_reference"),
        ("SELECT id FROM sessions WHERE right(id::text, 8) = $1", "sessions_by_short_id"),
        ("SELECT id FROM customers WHERE right(id::text, 8) = $1", "customers_by_short_id"),
    ],
)
async def test_a_search_by_reference_reads_an_index(
    server: RunningServer, statement: str, index: str
) -> None:
    async with server.database.transaction() as tx:
        await tx.execute("SET LOCAL enable_seqscan = off")
        plan = await tx.fetch(f"EXPLAIN {statement}", "0" * 8)
    assert index in "\n".join(row[0] for row in plan)
