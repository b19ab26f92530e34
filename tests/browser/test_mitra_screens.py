"""Check that every screen of the mitra's app is accessible in both themes and languages, and save screenshots."""

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from playwright.async_api import Page, expect

from tests.browser.mitras import (
    accept_blast,
    ask_again,
    ask_for_more_time,
    new_mitra,
    past_chat,
    send_message,
)
from tests.browser.operators import operator
from tests.browser.pushed import BLOCKED
from tests.browser.screens import (
    CONVERSATION,
    Screen,
    Show,
    page_opener,
    page_opener_with_push,
    screen_registry,
    sign_in_elsewhere,
)
from tests.browser.system import System, json_of
from tests.browser.test_screens import assert_usable
from tests.support.push import push_service
from tests.support.server import Person
from tests.support.texts import accept, published_drafts

SCREENS: dict[str, Screen] = {}


screen = screen_registry(SCREENS)


@contextlib.asynccontextmanager
async def working(system: System, *, max_customers: int = 3) -> AsyncIterator[Person]:
    """Create a mitra. Keep the mitra online and connected until the end of the block."""
    mitra = await new_mitra(system, max_customers=max_customers)
    async with mitra.socket():
        json_of(await mitra.put("/presence", {"online": True}))
        yield mitra


def at_home(system: System, mitra: Person, shows: str) -> Show:
    """Return a `page_opener` for the home screen.

    The page also waits until the app shows that the mitra is online.
    """

    async def show(**options: Any) -> Page:
        page = await page_opener(system, mitra, "/mitra/", ".on")(**options)
        await expect(page.locator(shows).first).to_be_visible()
        return page

    return show


async def talk(system: System, customer: Person, mitra: Person, session: dict[str, Any]) -> None:
    """Send the messages of CONVERSATION in a chat."""
    for sender, text in CONVERSATION:
        await send_message(customer if sender == "customer" else mitra, session, text)


# Signing in --------------------------------------------------------------------------------------------------


@screen("01-sign-in")
async def sign_in(system: System) -> AsyncIterator[Show]:
    async def show(**options: Any) -> Page:
        page = await (await system.context(**options)).new_page()
        await page.goto("/mitra/")
        await expect(page.locator(".demo li").first).to_be_visible()
        return page

    yield show


async def try_code(system: System, phone: str, **options: Any) -> Page:
    """Try to sign in with the code from the inbox. The server refuses to sign this person in."""
    page = await (await system.context(**options)).new_page()
    await page.goto("/mitra/")
    await page.locator("input[type=tel]").fill(phone)
    await page.locator("button[type=submit]").click()
    await expect(page.locator(".demo p")).to_be_visible()
    await page.locator(".demo button").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    return page


_phones = iter(range(10_000, 99_999))


@screen("02-not-invited")
async def not_invited(system: System) -> AsyncIterator[Show]:
    async def show(**options: Any) -> Page:
        return await try_code(system, f"0812 777 {next(_phones)}", **options)

    yield show


@screen("03-suspended")
async def suspended(system: System) -> AsyncIterator[Show]:
    mitra = await new_mitra(system)
    await system.database.execute("UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1", mitra.id)
    yield page_opener(system, mitra, "/mitra/", "main h1")


@screen("04-not-connected")
async def unreachable(system: System) -> AsyncIterator[Show]:
    mitra = await new_mitra(system)

    async def show(**options: Any) -> Page:
        page = await (await system.device_of(mitra, **options)).new_page()
        await page.route("**/api/mitra/state", lambda route: route.abort())
        await page.goto("/mitra/")
        await expect(page.locator("h1")).to_be_visible()
        return page

    yield show


# Home --------------------------------------------------------------------------------------------------------


@screen("10-offline")
async def offline(system: System) -> AsyncIterator[Show]:
    yield page_opener(system, await new_mitra(system), "/mitra/", "[role=switch]")


@screen("11-online")
async def online(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra:
        yield page_opener(system, mitra, "/mitra/", ".on")


@screen("12-cut-off")
async def cut_off(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra:

        async def show(**options: Any) -> Page:
            page = await page_opener(system, mitra, "/mitra/", ".on")(**options)
            await page.context.set_offline(True)
            await expect(page.locator(".cut-off")).to_be_visible()
            return page

        yield show


@screen("13-cards")
async def cards(system: System) -> AsyncIterator[Show]:
    melati, mawar = await system.customer("Melati"), await system.customer("Anggrek Bulan Putih")
    async with working(system) as mitra:
        await past_chat(system, melati, mitra)
        await ask_again(system, melati, mitra)
        await system.search(mawar, price_rp=35_000)
        await system.advance_clock(0)  # Stop the clock, so that the cards stay open for all checks.
        yield at_home(system, mitra, "article")


@screen("14-cards-closed")
async def cards_closed(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra:

        async def show(**options: Any) -> Page:
            customers = [await system.customer(name) for name in ("Melati", "Mawar", "Anggrek")]
            pairings = [await system.search(customer) for customer in customers]
            page = await at_home(system, mitra, "article")(**options)
            await expect(page.get_by_role("article")).to_have_count(3)
            for customer, pairing in zip(customers, pairings, strict=True):
                json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
            await expect(page.get_by_text(re.compile("3 (permintaan|requests)"))).to_be_visible()
            return page

        yield show


@screen("15-chats-and-today")
async def chats_and_today(system: System) -> AsyncIterator[Show]:
    melati, mawar, past = (
        await system.customer("Melati"),
        await system.customer("Mawar"),
        await system.customer("Anggrek"),
    )
    async with working(system) as mitra:
        ended = await past_chat(system, past, mitra)
        await system.database.execute(
            "UPDATE sessions SET started_at = started_at - interval '31 minutes' WHERE id = $1", ended["id"]
        )
        await talk(system, melati, mitra, await accept_blast(system, melati, mitra))
        session = await accept_blast(system, mawar, mitra)
        await send_message(
            mawar, session, "Kak, boleh aku mulai dari kejadian kemarin malam? Panjang ceritanya"
        )
        await send_message(mawar, session, "Tapi malu")
        yield at_home(system, mitra, ".face")


@screen("16-full")
async def full(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system, max_customers=1) as mitra:
        await accept_blast(system, customer, mitra)
        yield at_home(system, mitra, ".face")


@screen("17-extension")
async def extension(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        session = await accept_blast(system, customer, mitra)
        await ask_for_more_time(system, customer, session)
        await system.advance_clock(0)  # Stop the clock, so that the cards stay open for all checks.
        yield at_home(system, mitra, "article")


# Chats -------------------------------------------------------------------------------------------------------


@screen("20-chat")
async def chat(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        session = await accept_blast(system, customer, mitra)
        await talk(system, customer, mitra, session)
        yield page_opener(system, mitra, f"/mitra/chat/{session['id']}", ".bubble")


@screen("21-chat-begins")
async def chat_begins(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        session = await accept_blast(system, customer, mitra)
        yield page_opener(system, mitra, f"/mitra/chat/{session['id']}", ".empty")


@screen("22-chats-side-by-side-and-a-card")
async def side_by_side(system: System) -> AsyncIterator[Show]:
    melati, mawar, anggrek = (
        await system.customer("Melati"),
        await system.customer("Mawar"),
        await system.customer("Anggrek"),
    )
    async with working(system, max_customers=3) as mitra:
        await past_chat(system, anggrek, mitra)
        first, second = await accept_blast(system, melati, mitra), await accept_blast(system, mawar, mitra)
        await talk(system, melati, mitra, first)
        await send_message(mawar, second, "Kak?")
        await ask_again(system, anggrek, mitra)
        await system.advance_clock(0)  # Stop the clock, so that the cards stay open for all checks.
        yield page_opener(system, mitra, f"/mitra/chat/{first['id']}", "article")


@screen("23-chat-extension")
async def chat_extension(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        session = await accept_blast(system, customer, mitra)
        await talk(system, customer, mitra, session)
        await system.database.execute(
            "UPDATE sessions SET ends_at = ends_at - interval '27 minutes' WHERE id = $1", session["id"]
        )
        await ask_for_more_time(system, customer, session)
        await system.advance_clock(0)  # Stop the clock, so that the cards stay open for all checks.
        yield page_opener(system, mitra, f"/mitra/chat/{session['id']}", "article")


@screen("24-end")
async def end(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        session = await accept_blast(system, customer, mitra)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, mitra, f"/mitra/chat/{session['id']}/end", "fieldset")(**options)
            await page.locator("fieldset label").last.click()
            await page.locator("main input[type=radio]").first.check()
            await expect(page.locator("section button").last).to_be_visible()
            return page

        yield show


@screen("25-ended")
async def ended(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra:

        async def show(**options: Any) -> Page:
            customer = await system.customer("Melati")
            session = await accept_blast(system, customer, mitra)
            await talk(system, customer, mitra, session)
            page = await page_opener(system, mitra, f"/mitra/chat/{session['id']}", ".bubble")(**options)
            json_of(await customer.post(f"/sessions/{session['id']}/end"))
            await expect(page.locator("footer h2")).to_be_visible()
            return page

        yield show


# The rest ----------------------------------------------------------------------------------------------------


@screen("30-history")
async def history(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra:
        for number, name in enumerate(("Kenanga", "Dahlia", "Mawar", "Anggrek", "Melati")):
            customer = await system.customer(name)
            session = await accept_blast(system, customer, mitra)
            if number == 1:
                json_of(await mitra.post(f"/sessions/{session['id']}/end", {"reason": "Listrik padam"}))
            elif number < 4:
                json_of(await customer.post(f"/sessions/{session['id']}/end"))
            if number < 2:
                await put_back(system, session, "1 day")
            elif number < 4:
                await put_back(system, session, f"{40 * (5 - number)} minutes")
        yield page_opener(system, mitra, "/mitra/history", "li")


async def put_back(system: System, session: dict[str, Any], time: str) -> None:
    """Move the start of the ended session back by `time`, and set the session's length to half an hour."""
    await system.database.execute(
        "UPDATE sessions SET started_at = started_at - $2::text::interval, "
        "ended_at = started_at - $2::text::interval + interval '30 minutes' WHERE id = $1",
        UUID(session["id"]),
        time,
    )


@screen("31-history-empty")
async def history_empty(system: System) -> AsyncIterator[Show]:
    yield page_opener(system, await new_mitra(system), "/mitra/history", ".empty")


@screen("32-past-chat")
async def read_again(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        session = await accept_blast(system, customer, mitra)
        await talk(system, customer, mitra, session)
        json_of(await mitra.post(f"/sessions/{session['id']}/end", {"reason": "Listrik padam"}))
        yield page_opener(system, mitra, f"/mitra/history/{session['id']}", ".bubble")


@screen("50-past-chat-text-gone")
async def text_gone(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        session = await accept_blast(system, customer, mitra)
        await talk(system, customer, mitra, session)
        json_of(await mitra.post(f"/sessions/{session['id']}/end", {"reason": "Listrik padam"}))
        await system.database.execute(
            "UPDATE sessions SET ended_at = ended_at - interval '31 days' WHERE id = $1", UUID(session["id"])
        )
        yield page_opener(system, mitra, f"/mitra/history/{session['id']}", "footer")


@screen("60-delete-account")
async def delete_account(system: System) -> AsyncIterator[Show]:
    mitra = await new_mitra(system)

    async def show(**options: Any) -> Page:
        page = await page_opener(system, mitra, "/mitra/profile", "main")(**options)
        await page.get_by_role("button", name=re.compile("Hapus akun|Delete account")).click()
        await expect(page.get_by_role("dialog").get_by_role("button")).to_have_count(2)
        return page

    yield show


@screen("33-profile")
async def profile(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        session = await system.past_chat(await system.customer(), mitra, socket)
        json_of(await mitra.post(f"/sessions/{session['id']}/block"))
        await sign_in_elsewhere(system, mitra)
        yield page_opener(system, mitra, "/mitra/profile", "li .out >> nth=1")


@screen("35-phone")
async def phone(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra:

        async def show(**options: Any) -> Page:
            page = await (await system.device_of(mitra, **options)).new_page()
            await page.add_init_script(
                "Object.defineProperty(Notification, 'permission', { get: () => 'default' })"
            )
            await page.goto("/mitra/phone")
            await expect(page.locator("section button")).to_have_count(2)
            return page

        yield show


@screen("36-phone-without-notifications")
async def phone_blocked(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra:

        async def show(**options: Any) -> Page:
            page = await (await system.device_of(mitra, **options)).new_page()
            await page.add_init_script(BLOCKED)
            await page.goto("/mitra/phone")
            await expect(page.locator("#push + .state")).to_be_visible()
            return page

        yield show


@screen("37-phone-with-notifications")
async def phone_with_notifications(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra, push_service() as vendor:
        yield page_opener_with_push(system, mitra, vendor, "/mitra/phone", "#push + .state")


@screen("18-break")
async def on_a_break(system: System) -> AsyncIterator[Show]:
    mitra = await new_mitra(system)
    json_of(await mitra.put("/break", {"minutes": 15}))
    yield page_opener(system, mitra, "/mitra/", "#break")


@screen("19-break-over")
async def break_over(system: System) -> AsyncIterator[Show]:
    mitra = await new_mitra(system)
    json_of(await mitra.put("/break", {"minutes": 15}))
    await system.database.execute("UPDATE mitras SET break_until = curhat_now() WHERE id = $1", mitra.id)
    yield page_opener(system, mitra, "/mitra/", "#break")


@screen("26-tools")
async def tools(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        version = json_of(await mitra.get("/canned-answers"))["version"]
        texts = ["Halo, aku di sini untukmu. Mau mulai dari mana?", "Pelan-pelan saja, ya. Aku dengarkan."]
        json_of(await mitra.put("/canned-answers", {"texts": texts, "expected_version": version}))
        session = await accept_blast(system, customer, mitra)
        await talk(system, customer, mitra, session)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, mitra, f"/mitra/chat/{session['id']}", ".bubble")(**options)
            await page.locator(".tools").click()
            await expect(page.locator("dialog li")).to_have_count(2)
            return page

        yield show


@screen("27-concern")
async def concern(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        session = await accept_blast(system, customer, mitra)
        await talk(system, customer, mitra, session)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, mitra, f"/mitra/chat/{session['id']}", ".bubble")(**options)
            await page.locator(".concern").click()
            await expect(page.locator("main ol")).to_be_visible()
            return page

        yield show


@screen("28-concern-told")
async def concern_told(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        session = await accept_blast(system, customer, mitra)
        await talk(system, customer, mitra, session)

        async def show(**options: Any) -> Page:
            path = f"/mitra/chat/{session['id']}/concern"
            page = await page_opener(system, mitra, path, "main ol")(**options)
            await page.locator("section .choice button").last.click()
            await page.locator("section .secondary").click()
            await expect(page.locator(".told")).to_have_count(2)
            return page

        yield show


@screen("44-suspended-with-a-notice")
async def suspended_with_a_notice(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        await past_chat(system, customer, mitra)
    operator_id, _ = await operator(system)
    await system.database.execute(SUSPENSION, mitra.id, operator_id)
    yield page_opener(system, mitra, "/mitra/", "article")


SUSPENSION = """
WITH decided AS (
    INSERT INTO reports (session_id, customer_id, mitra_id, reporter, reason, urgency, due_at, status, decision,
        decision_note, suspend_until, decided_by, decided_at, closed_at)
    SELECT sessions.id, customer_id, mitra_id, 'customer', 'contact', 1, curhat_now(), 'decided', 'suspend',
        'Minta nomor.', curhat_now() + interval '7 days', $2, curhat_now(), curhat_now()
    FROM sessions WHERE mitra_id = $1 LIMIT 1
    RETURNING id, suspend_until
), suspended AS (
    UPDATE mitras SET suspended_at = curhat_now(), suspended_until = decided.suspend_until FROM decided
    WHERE mitras.id = $1
)
INSERT INTO notices (role, user_id, kind, report_id, suspended_until)
SELECT 'mitra', $1, 'suspension', id, suspend_until FROM decided
"""


@screen("38-take-a-break")
async def take_a_break(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        await accept_blast(system, customer, mitra)
        yield page_opener(system, mitra, "/mitra/break", "main button")


@screen("39-summary")
async def summary(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra:
        for name in ("Kenanga", "Dahlia"):
            await past_chat(system, await system.customer(name), mitra)
        customer = await system.customer("Melati")
        pairing = await system.search(customer)
        json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
        yield page_opener(system, mitra, "/mitra/summary", "dl")


@screen("40-summary-empty")
async def summary_empty(system: System) -> AsyncIterator[Show]:
    yield page_opener(system, await new_mitra(system), "/mitra/summary", "section")


@screen("41-past-requests")
async def past_requests(system: System) -> AsyncIterator[Show]:
    async with working(system) as mitra:
        await past_chat(system, await system.customer("Kenanga"), mitra)
        customer = await system.customer("Anggrek Bulan Putih")
        pairing = await system.search(customer)
        json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
        yield page_opener(system, mitra, "/mitra/requests", "main li")


@screen("42-past-requests-empty")
async def past_requests_empty(system: System) -> AsyncIterator[Show]:
    yield page_opener(system, await new_mitra(system), "/mitra/requests", ".empty")


@screen("43-answers")
async def answers(system: System) -> AsyncIterator[Show]:
    mitra = await new_mitra(system)
    version = json_of(await mitra.get("/canned-answers"))["version"]
    texts = ["Halo, aku di sini untukmu. Mau mulai dari mana?", "Pelan-pelan saja, ya. Aku dengarkan."]
    json_of(await mitra.put("/canned-answers", {"texts": texts, "expected_version": version}))
    yield page_opener(system, mitra, "/mitra/answers", "textarea")


@screen("34-sign-out")
async def sign_out(system: System) -> AsyncIterator[Show]:
    customer = await system.customer("Melati")
    async with working(system) as mitra:
        await accept_blast(system, customer, mitra)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, mitra, "/mitra/profile", "fieldset")(**options)
            await page.locator("main > .out button").click()
            await expect(page.get_by_role("dialog")).to_be_visible()
            return page

        yield show


@screen("50-consent-code-of-conduct")
async def consent_code_of_conduct(system: System) -> AsyncIterator[Show]:
    mitra = await new_mitra(system)
    async with published_drafts(system.database):
        for kind in ("terms", "privacy", "health_data"):
            await accept(mitra, kind)
        yield page_opener(system, mitra, "/mitra/consent", "main li")


@pytest.mark.rule("V.1", "V.7")
@pytest.mark.parametrize("name", SCREENS)
async def test_a_screen_of_the_mitra_is_accessible_in_every_theme_and_language(
    system: System, name: str
) -> None:
    async with SCREENS[name](system) as show:
        await assert_usable(show, f"mitra-{name}")
