"""Test the export of a person's own data over HTTP: it is opened and read, as JSON and as a page."""

import asyncio
import html
import re
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from curhat.journeys.outcome import WhatHappened
from curhat.kit.pause_points import set_pause_point
from curhat.payments.states import CaseDecision, RefundStatus
from curhat.pricing.schemas import Purpose
from curhat.privacy.export import service
from curhat.privacy.export.schemas import Export, OpeningReason
from curhat.privacy.export.words import ENGLISH, INDONESIAN
from curhat.privacy.export.writers import POLICY
from curhat.safety.ratings.states import RatingAnswer, RatingTag
from curhat.safety.reports.states import OwnReportStatus, ReportReason
from tests.support.chats import Chat
from tests.support.clock import VirtualClock
from tests.support.fresh_code import fresh_code
from tests.support.old_chats import DECIDE, end, report, write
from tests.support.server import Person
from tests.support.signed_in import RunningServer, problem

ODD = "<script>alert(1)</script> & \"petik\" 'satu' \u202ebalik\n\nbaris baru"


async def export(
    server: RunningServer, person: Person, headers: dict[str, str] | None = None, **query: str
) -> httpx.Response:
    """Ask for an export with a fresh code, or with these headers."""
    if headers is None:
        headers = await fresh_code(server, person)
    side = "client" if person.role == "customer" else "mitra"
    return await server.http.get(
        f"/api/{side}/me/export",
        params=query,
        headers={"Authorization": f"Bearer {person.token}", **headers},
    )


async def past_chat(server: RunningServer, customer: Person, mitra_id: UUID, *texts: str) -> Chat:
    chat = await server.chat(customer.id, mitra_id)
    await write(server.database, chat, *texts)
    await end(server.database, chat)
    return chat


@pytest.mark.rule("P.6")
async def test_a_customer_gets_profile_payments_chats_and_own_reports_as_json(server: RunningServer) -> None:
    customer, mitra = await server.customer("Bunga"), await server.mitra("Kak Sari", max_customers=3)
    chat = await past_chat(server, customer, mitra.id, ODD, "aku mendengarkan")
    await report(server.database, chat.customer, chat.id)
    await report(server.database, chat.mitra, chat.id)
    rated = await customer.post(f"/sessions/{chat.id}/rating", {"answer": "helpful", "tags": ["felt_heard"]})
    assert rated.status_code == 201, rated.text
    for who in (customer, mitra):
        assert (await who.post(f"/sessions/{chat.id}/block")).status_code == 204
    # A stranger's data is not part of it.
    await past_chat(server, await server.customer("Orang Lain"), mitra.id, "rahasia orang lain")

    answer = await export(server, customer)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch(
        r'attachment; filename="curhat-\d{4}-\d\d-\d\d\.json"', answer.headers["content-disposition"]
    )
    data = msgspec.json.decode(answer.content, type=Export)
    phone = await server.database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
    assert (data.profile.name, data.profile.phone_number) == ("Bunga", phone)
    (paid,) = data.payments
    assert (paid.id, paid.session_id, paid.what_happened) == (chat.payment_id, chat.id, "served")
    (told,) = data.chats
    assert (told.id, told.with_name, told.text_gone) == (chat.id, "Kak Sari", False)
    assert [(message.is_own, message.text) for message in told.messages] == [
        (True, ODD),
        (False, "aku mendengarkan"),
    ]
    assert told.rating is not None
    assert (told.rating.answer, told.rating.tags) == ("helpful", ["felt_heard"])
    # The mitra's export has no rating.
    of_mitra = msgspec.json.decode((await export(server, mitra)).content, type=Export)
    assert [each.rating for each in of_mitra.chats if each.id == chat.id] == [None]
    # The mitra's block and report are not part of it.
    assert [(block.session_id, block.name) for block in data.blocks] == [(chat.id, "Kak Sari")]
    (own,) = data.reports
    assert (own.session_id, own.reason, own.status) == (chat.id, "threat", "received")
    assert "rahasia orang lain" not in answer.text
    assert "Orang Lain" not in answer.text


class Page(HTMLParser):
    """Collects the tags and the shown text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.is_style = False
        self.feed(page)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.is_style = tag == "style"

    def handle_endtag(self, _tag: str) -> None:
        self.is_style = False

    def handle_data(self, data: str) -> None:
        if not self.is_style:
            self.words.append(data.strip())


@pytest.mark.rule("P.6")
@pytest.mark.parametrize(("language", "words"), [("id", INDONESIAN), ("en", ENGLISH)])
async def test_the_page_needs_nothing_else_runs_nothing_and_shows_what_was_written(
    server: RunningServer, language: str, words: Any
) -> None:
    customer, mitra = await server.customer("Bu<b>nga"), await server.mitra("Kak & Sari", max_customers=3)
    await past_chat(server, customer, mitra.id, ODD, "aku mendengarkan")
    answer = await export(server, customer, format="html", language=language, zone="Asia/Makassar")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(answer.text)
    assert page.tags & {"script", "img", "link", "iframe", "form", "b", "object"} == set()
    assert {name for name in page.attributes if name.startswith("on") or name in ("src", "href")} == set()
    assert f'content="{html.escape(POLICY)}"' in answer.text
    assert f'<html lang="{language}">' in answer.text
    assert ODD in page.words
    assert "Bu<b>nga" in page.text
    assert "Kak & Sari" in page.text
    assert "Rp20.000" in page.text
    assert "WITA" in page.text
    assert words.sections["payments"] in page.text
    # Without reports and blocks, the sections say so. The last sentence says that nothing is missing.
    assert page.words.count(words.nothing) == 2
    assert page.words[-2] == words.complete


@pytest.mark.rule("P.6")
async def test_a_mitra_gets_the_chats_that_a_mitra_can_still_read(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    customer, mitra = (
        await server.customer("Bunga"),
        await server.person("mitra", await server.make.mitra("Kak Sari", max_customers=3)),
    )
    await past_chat(server, customer, mitra.id, "cerita lama")
    await clock.advance(31 * 24 * 3600)
    mitra = await server.person("mitra", mitra.id)
    await past_chat(server, customer, mitra.id, "cerita baru")
    answer = await export(server, mitra)
    data = msgspec.json.decode(answer.content, type=Export)
    assert data.payments == []
    assert [(chat.with_name, chat.text_gone, len(chat.messages)) for chat in data.chats] == [
        ("Bunga", False, 1),
        ("Bunga", True, 0),
    ]
    assert "cerita lama" not in answer.text
    phone = await server.database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
    assert phone not in answer.text


@pytest.mark.rule("P.6", "T.4")
async def test_an_opening_of_a_chat_is_told_when_nothing_about_it_waits_for_a_decision(
    server: RunningServer,
) -> None:
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    operator = await server.operator("reviewer")
    chat = await past_chat(server, customer, mitra.id, "halo", "halo juga")
    report_id = await report(server.database, chat.mitra, chat.id)
    read = await operator.post(
        f"/sessions/{chat.id}/transcript",
        {"reason": "kata operator", "ground": {"kind": "report", "id": str(report_id)}},
    )
    assert read.status_code == 200, read.text
    waiting = msgspec.json.decode((await export(server, customer)).content, type=Export)
    assert waiting.chats[0].openings == []
    await server.database.execute(DECIDE, report_id, operator.id)
    answer = await export(server, customer)
    decided = msgspec.json.decode(answer.content, type=Export)
    assert [opening.why for opening in decided.chats[0].openings] == ["safety"]
    # The operator's own words and the mitra's report stay secret.
    assert "kata operator" not in answer.text
    assert str(report_id) not in answer.text


@pytest.mark.rule("P.6")
async def test_an_export_needs_a_fresh_code_and_there_are_three_a_day(
    server: RunningServer, clock: VirtualClock
) -> None:
    await clock.set()
    customer = await server.customer()
    assert problem(await export(server, customer, {})) == (401, "fresh_code_missing")
    header = await fresh_code(server, customer)
    wrong = {
        "X-Fresh-Code": header["X-Fresh-Code"][:-6] + f"{(int(header['X-Fresh-Code'][-6:]) + 1) % 10**6:06}"
    }
    assert problem(await export(server, customer, wrong)) == (401, "code_invalid")
    assert (await export(server, customer, header)).status_code == 200
    assert problem(await export(server, customer, header)) == (401, "code_invalid")
    for _ in range(2):
        await clock.advance(600)
        assert (await export(server, customer)).status_code == 200
    header = await fresh_code(server, customer)
    refused = await export(server, customer, header)
    assert problem(refused) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) == 24 * 3600 - 1200
    # The refused code stays good, and somebody else is not limited.
    assert (await export(server, await server.customer())).status_code == 200
    await clock.advance(24 * 3600 - 1200)
    customer = await server.person("customer", customer.id)
    assert (await export(server, customer)).status_code == 200


@pytest.mark.rule("P.6")
async def test_a_running_export_breaks_off_when_the_person_signs_out(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_ITEMS_PER_PAGE", 2)
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    await past_chat(server, customer, mitra.id, "satu", "dua", "tiga")
    header = await fresh_code(server, customer)
    pages = 0
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        nonlocal pages
        pages += 1
        if pages == 4:  # Profile, payments, chats, and then the messages.
            reached.set()
            await go_on.wait()

    set_pause_point("export.page", hold)
    asked = asyncio.create_task(export(server, customer, header))
    await asyncio.wait_for(reached.wait(), 10)
    assert (await customer.post("/auth/logout", key="")).status_code == 204
    go_on.set()
    with pytest.raises(httpx.RemoteProtocolError):
        await asked
    assert pages == 4


@pytest.mark.rule("P.6")
async def test_a_long_chat_is_read_page_by_page_and_arrives_whole(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_ITEMS_PER_PAGE", 3)
    customer, mitra = await server.customer(), await server.mitra(max_customers=3)
    texts = [f"pesan {number}" for number in range(8)]
    await past_chat(server, customer, mitra.id, *texts)
    data = msgspec.json.decode((await export(server, customer)).content, type=Export)
    assert [message.text for message in data.chats[0].messages] == texts


def test_the_page_has_a_word_for_every_value() -> None:
    values = {
        "outcomes": WhatHappened,
        "decisions": CaseDecision,
        "refund_statuses": RefundStatus,
        "purposes": Purpose,
        "reasons": ReportReason,
        "report_statuses": OwnReportStatus,
        "openings": OpeningReason,
        "answers": RatingAnswer,
        "tags": RatingTag,
    }
    for words in (INDONESIAN, ENGLISH):
        for name, literal in values.items():
            assert set(getattr(words, name)) == set(literal.__args__), name  # type: ignore[attr-defined]
        assert len(words.months) == 12
