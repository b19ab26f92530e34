"""Test that operators see and publish the texts that people accept (P.1)."""

import asyncio
from typing import Any

import pytest

from tests.support.signed_in import RunningServer, problem
from tests.support.texts import accept, publish_drafts


def publication(kind: str = "terms", **more: object) -> dict[str, Any]:
    """Return the body of a publication."""
    return {"kind": kind, "bodies": {"id": "# Baru\n\nIsi", "en": "# New\n\nBody"}, **more}


@pytest.mark.rule("P.1")
async def test_an_admin_publishes_a_version_that_everybody_must_accept_anew(server: RunningServer) -> None:
    await publish_drafts(server.database)
    customer, mitra = await server.customer(), await server.mitra()
    for person in (customer, mitra):
        await accept(person, "terms")
    admin = await server.operator("admin", "ayu@example.id")
    [before] = [text for text in (await admin.get("/texts")).json()["items"] if text["kind"] == "terms"]
    assert (before["current"]["version"], before["current"]["is_draft"], before["accepted"]) == (1, True, 2)
    assert before["current"]["published_by"] == "curhat seed"
    published = await admin.post("/texts", publication(expected_version=1))
    assert published.status_code == 201, published.text
    [after] = [text for text in (await admin.get("/texts")).json()["items"] if text["kind"] == "terms"]
    assert after == {"kind": "terms", "current": published.json(), "accepted": 0}
    assert (published.json()["version"], published.json()["published_by"]) == (2, "ayu@example.id")
    assert [text["accepted_at"] for text in (await customer.get("/texts")).json()["items"]] == [None] * 3
    [entry] = (await admin.get("/audit", action="text_published")).json()["items"]
    assert (entry["subject"], entry["subject_id"], entry["new_value"]) == ("text", "terms", "2")


@pytest.mark.rule("P.1")
async def test_the_history_of_a_text_keeps_every_version(server: RunningServer) -> None:
    await publish_drafts(server.database)
    admin = await server.operator()
    for _ in range(2):
        assert (await admin.post("/texts", publication(is_draft=True))).status_code == 201
    versions = (await admin.get("/texts/terms/versions")).json()
    assert [item["version"] for item in versions["items"]] == [3, 2, 1]
    assert [
        item["version"] for item in (await admin.get("/texts/terms/versions", cursor="3")).json()["items"]
    ] == [
        2,
        1,
    ]
    first = (await admin.get("/texts/terms/versions/1")).json()
    assert first["bodies"]["id"].startswith("# Ketentuan")
    assert problem(await admin.get("/texts/terms/versions/4")) == (404, "not_found")
    assert problem(await admin.get("/texts/other/versions")) == (404, "not_found")
    assert problem(await admin.get("/texts/terms/versions", cursor="x")) == (422, "validation_failed")


@pytest.mark.rule("P.1")
async def test_of_two_admins_who_publish_at_once_one_is_told_of_the_other_version(
    server: RunningServer,
) -> None:
    await publish_drafts(server.database)
    admins = [await server.operator() for _ in range(2)]
    answers = await asyncio.gather(
        *(admin.post("/texts", publication(expected_version=1)) for admin in admins)
    )
    assert sorted(map(problem, answers)) == [(201, None), (409, "text_outdated")]
    [refused] = [answer.json() for answer in answers if answer.status_code == 409]
    assert refused["current_version"] == 2


@pytest.mark.rule("P.1")
@pytest.mark.parametrize("body", ["", "  \n ", "a" * 20_001, "a\x00b"])
async def test_a_text_without_a_body_in_one_language_is_refused(server: RunningServer, body: str) -> None:
    admin = await server.operator()
    order = {"kind": "terms", "bodies": {"id": "Isi", "en": body}}
    assert problem(await admin.post("/texts", order)) == (422, "validation_failed")
    assert problem(await admin.post("/texts", {"kind": "terms", "bodies": {"id": "Isi"}})) == (
        422,
        "validation_failed",
    )
    assert await server.database.fetchval("SELECT count(*) FROM texts") == 0
