"""Test that nobody pays or goes online without the newest acceptances (P.1), and that minors are refused (P.2)."""

from typing import Any

import asyncpg
import pytest

from curhat.content.texts.kinds import KINDS, KINDS_OF
from curhat.kit.database import Database
from tests.support.clock import VirtualClock
from tests.support.people import Make
from tests.support.server import Person
from tests.support.signed_in import RunningServer, business_rows, problem
from tests.support.texts import accept, accept_all, publish_drafts, publish_next

OF_A_CUSTOMER = ["terms", "privacy", "health_data"]
OF_A_MITRA = [*OF_A_CUSTOMER, "code_of_conduct"]


async def open_payment(server: RunningServer, customer: Person, **order: str) -> tuple[int, Any, Any]:
    """Try to open a payment. Return the status, the code, and the kinds of the refusal."""
    offer_id = await server.make.offer()
    answer = await customer.post("/payments", {"offer_id": str(offer_id), **order})
    return *problem(answer), answer.json().get("kinds")


async def go_online(mitra: Person) -> tuple[int, Any, Any]:
    """Try to go online. Return the status, the code, and the kinds of the refusal."""
    answer = await mitra.put("/presence", {"online": True})
    return *problem(answer), answer.json().get("kinds")


@pytest.mark.rule("P.1")
async def test_a_payment_is_opened_only_after_each_of_the_three_texts_was_accepted(
    server: RunningServer,
) -> None:
    await publish_drafts(server.database)
    customer = await server.customer()
    assert await open_payment(server, customer) == (409, "acceptance_needed", OF_A_CUSTOMER)
    await accept(customer, "privacy")
    assert await open_payment(server, customer) == (409, "acceptance_needed", ["terms", "health_data"])
    await accept(customer, "terms")
    assert await open_payment(server, customer) == (409, "acceptance_needed", ["health_data"])
    await accept(customer, "health_data")
    # Nobody is online. So the gate of the texts is open, and the next check refuses.
    assert (await open_payment(server, customer))[1] in ("no_mitra_available", "presence_unknown")


@pytest.mark.rule("P.1")
async def test_the_payment_for_a_chosen_mitra_needs_the_acceptances_too(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra()
    chat = await server.chat(customer.id, mitra.id)
    ended = await customer.post(f"/sessions/{chat.id}/end")
    assert ended.status_code == 200, ended.text
    await publish_drafts(server.database)
    refused = await open_payment(server, customer, target_mitra_id=str(mitra.id))
    assert refused == (409, "acceptance_needed", OF_A_CUSTOMER)


@pytest.mark.rule("P.1")
async def test_a_mitra_goes_online_only_after_accepting_the_code_of_conduct_too(
    server: RunningServer,
) -> None:
    await publish_drafts(server.database)
    mitra = await server.mitra(online=False)
    assert await go_online(mitra) == (409, "acceptance_needed", OF_A_MITRA)
    for kind in KINDS_OF["customer"]:
        await accept(mitra, kind)
    assert await go_online(mitra) == (409, "acceptance_needed", ["code_of_conduct"])
    assert (await mitra.get("/me")).json()["online"] is False
    await accept(mitra, "code_of_conduct")
    assert (await go_online(mitra))[:2] == (200, None)
    assert (await mitra.get("/me")).json()["online"] is True


@pytest.mark.rule("P.1")
async def test_going_offline_never_needs_an_acceptance(server: RunningServer) -> None:
    mitra = await server.mitra(online=True)
    await publish_drafts(server.database)
    answer = await mitra.put("/presence", {"online": False})
    assert answer.json()["online"] is False


@pytest.mark.rule("P.1")
async def test_only_the_newest_version_counts(server: RunningServer) -> None:
    await publish_drafts(server.database)
    customer, mitra = await server.customer(), await server.mitra(online=False)
    await accept_all(customer)
    await accept_all(mitra)
    assert await publish_next(server.database, "terms") == 2
    assert await open_payment(server, customer) == (409, "acceptance_needed", ["terms"])
    assert await go_online(mitra) == (409, "acceptance_needed", ["terms"])
    outdated = await accept(customer, "terms", 1)
    assert problem(outdated) == (409, "text_outdated")
    assert (outdated.json()["kind"], outdated.json()["current_version"]) == ("terms", 2)
    await accept_all(customer)
    await accept_all(mitra)
    assert (await open_payment(server, customer))[1] in ("no_mitra_available", "presence_unknown")
    assert (await go_online(mitra))[0] == 200


@pytest.mark.rule("P.1")
async def test_an_acceptance_counts_only_for_the_person_and_the_role_that_gave_it(
    server: RunningServer, make: Make
) -> None:
    await publish_drafts(server.database)
    people = []
    for _ in range(2):
        person_id = await make.customer()
        await make.mitra(online=False, person_id=person_id)
        people.append((await server.person("customer", person_id), await server.person("mitra", person_id)))
    [(customer, as_mitra), (as_customer, mitra)] = people
    await accept_all(as_mitra)
    await accept_all(as_customer)
    assert await open_payment(server, customer) == (409, "acceptance_needed", OF_A_CUSTOMER)
    assert await go_online(mitra) == (409, "acceptance_needed", OF_A_MITRA)
    assert [text["accepted_at"] for text in (await customer.get("/texts")).json()["items"]] == [None] * 3
    await accept_all(customer)
    await accept_all(mitra)
    assert (await open_payment(server, customer))[1] != "acceptance_needed"
    assert (await go_online(mitra))[0] == 200


@pytest.mark.rule("P.1")
async def test_signing_in_and_reading_need_no_acceptance(server: RunningServer) -> None:
    await publish_drafts(server.database)
    customer, mitra = await server.customer(), await server.mitra(online=False)
    for person, paths in (
        (customer, ("/me", "/state", "/payments", "/sessions")),
        (mitra, ("/me", "/state")),
    ):
        for path in paths:
            assert (await person.get(path)).status_code == 200, path


@pytest.mark.rule("P.1")
async def test_without_a_published_text_nobody_has_to_accept_anything(server: RunningServer) -> None:
    customer, mitra = await server.customer(), await server.mitra(online=False)
    assert (await customer.get("/texts")).json() == {"items": [], "is_adult": False}
    assert (await go_online(mitra))[0] == 200
    assert (await open_payment(server, customer))[1] != "acceptance_needed"
    assert problem(await accept(customer, "terms")) == (404, "not_found")


@pytest.mark.rule("P.1")
async def test_each_side_gets_its_texts_in_its_language_in_order(server: RunningServer) -> None:
    await publish_drafts(server.database)
    customer, mitra = await server.customer(), await server.mitra()
    indonesian = (await customer.get("/texts")).json()["items"]
    assert [text["kind"] for text in indonesian] == OF_A_CUSTOMER
    assert indonesian[0]["body"].startswith("# Ketentuan Curhat")
    assert all(text["is_draft"] and text["language"] == "id" for text in indonesian)
    english = (await mitra.get("/texts", language="en")).json()["items"]
    assert [text["kind"] for text in english] == OF_A_MITRA
    assert english[0]["body"].startswith("# Terms of Curhat")
    public = await server.http.get("/api/content/texts", headers={"Accept-Language": "en-GB,id;q=0.5"})
    assert [text["kind"] for text in public.json()["items"]] == list(KINDS)
    assert public.json()["items"][1]["body"].startswith("# Privacy notice")


@pytest.mark.rule("P.1")
async def test_a_repeated_acceptance_keeps_the_time_of_the_first_one(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    await publish_drafts(server.database)
    customer = await server.customer()
    await accept(customer, "terms")
    first = (await customer.get("/texts")).json()["items"][0]["accepted_at"]
    await clock.advance(60)
    assert (await accept(customer, "terms")).status_code == 204
    assert (await customer.get("/texts")).json()["items"][0]["accepted_at"] == first
    assert await server.database.fetchval("SELECT count(*) FROM acceptances") == 1


@pytest.mark.rule("P.1")
async def test_a_version_that_does_not_exist_and_a_text_of_the_other_role_cannot_be_accepted(
    server: RunningServer,
) -> None:
    await publish_drafts(server.database)
    customer = await server.customer()
    assert problem(await accept(customer, "terms", 2)) == (404, "not_found")
    assert problem(await accept(customer, "code_of_conduct")) == (404, "not_found")
    assert await server.database.fetchval("SELECT count(*) FROM acceptances") == 0


@pytest.mark.rule("P.1")
async def test_the_database_keeps_texts_and_acceptances_unchanged(
    database: Database, make: Make, clock: VirtualClock
) -> None:
    await clock.set()
    await publish_drafts(database)
    customer_id = await make.customer()
    insert = "INSERT INTO acceptances (role, user_id, kind, version) VALUES ($1, $2, $3, $4)"
    await database.execute(insert, "customer", customer_id, "terms", 1)
    for statement in (
        "UPDATE texts SET body_id = 'lain'",
        "DELETE FROM texts",
        "TRUNCATE texts, acceptances",
        "UPDATE acceptances SET accepted_at = curhat_now()",
        "DELETE FROM acceptances",
        "TRUNCATE acceptances",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await database.execute(statement)
    for row in (("customer", customer_id, "terms", 7), ("customer", customer_id, "code_of_conduct", 1)):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await database.execute(insert, *row)
    # When the retention is over, the acceptance can be deleted.
    await clock.advance(5 * 366 * 24 * 3600)
    await database.execute("DELETE FROM acceptances")
    assert await database.fetchval("SELECT count(*) FROM acceptances") == 0


# Adults only -------------------------------------------------------------------------------------------------


@pytest.mark.rule("P.2")
async def test_a_minor_is_refused_and_nothing_is_accepted_or_kept(server: RunningServer) -> None:
    await publish_drafts(server.database)
    customer = await server.customer()
    before = await business_rows(server.database)
    keys = await server.database.fetchval("SELECT count(*) FROM idempotency_keys")
    year = await server.database.fetchval("SELECT extract(year FROM curhat_now())::integer")
    for birth_year in (year, year - 10, year - 17):
        # A client that sends a key changes nothing: no answer is stored, whose digest would reveal the year.
        body = {"kind": "terms", "version": 1, "birth_year": birth_year}
        assert problem(await customer.post("/acceptances", body)) == (403, "adults_only")
    assert await business_rows(server.database) == before
    assert await server.database.fetchval("SELECT count(*) FROM idempotency_keys") == keys
    assert (await customer.get("/texts")).json()["is_adult"] is False


@pytest.mark.rule("P.2")
async def test_of_the_year_of_birth_only_adult_is_kept(server: RunningServer) -> None:
    await publish_drafts(server.database)
    customer, mitra = await server.customer(), await server.mitra()
    year = await server.database.fetchval("SELECT extract(year FROM curhat_now())::integer")
    assert (await accept(customer, "terms", birth_year=1931)).status_code == 204
    assert (await accept(mitra, "terms", birth_year=year - 18)).status_code == 204
    for person in (customer, mitra):
        answer = (await person.get("/texts")).json()
        assert (answer["is_adult"], answer["items"][0]["accepted_at"] is None) == (True, False)
    assert await server.database.fetchval("SELECT count(*) FROM customers WHERE adult_at IS NOT NULL") == 1
    tables = await server.database.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE column_name LIKE '%birth%'"
    )
    assert tables == []


@pytest.mark.rule("P.2")
async def test_a_year_in_the_future_or_with_another_text_is_a_mistake_and_no_refusal(
    server: RunningServer,
) -> None:
    await publish_drafts(server.database)
    customer = await server.customer()
    year = await server.database.fetchval("SELECT extract(year FROM curhat_now())::integer")
    assert problem(await accept(customer, "terms", birth_year=year + 1)) == (422, "validation_failed")
    assert problem(await accept(customer, "terms", birth_year=1899)) == (422, "validation_failed")
    assert problem(await accept(customer, "privacy", birth_year=1990)) == (422, "validation_failed")
    assert await server.database.fetchval("SELECT count(*) FROM acceptances") == 0


@pytest.mark.rule("P.2")
async def test_a_client_that_asks_for_no_year_relies_on_the_statement_in_the_terms(
    server: RunningServer,
) -> None:
    await publish_drafts(server.database)
    customer = await server.customer()
    await accept_all(customer)
    answer = (await customer.get("/texts")).json()
    assert answer["is_adult"] is False
    assert "18" in answer["items"][0]["body"]
    assert (await open_payment(server, customer))[1] != "acceptance_needed"
