"""Test the toggle, cards, concurrent mitras and several chats of the mitra's app in a real browser."""

import asyncio
import re
from typing import Any
from uuid import UUID

import pytest
from playwright.async_api import Locator, Page, Request, Route, WebSocketRoute, expect

from tests.browser.mitras import (
    accept_blast,
    ask_again,
    ask_for_more_time,
    button,
    card,
    go_online,
    new_mitra,
    online_mitra,
    past_chat,
    send_message,
    switch,
)
from tests.browser.system import System, json_of, wait_until

BACKGROUND = """(isHidden) => {
    const get = () => (isHidden ? 'hidden' : 'visible');
    Object.defineProperty(document, 'visibilityState', { get, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""
# Count the notes of the ringtone, and collect the vibrations. The browser still plays the notes.
LISTEN = """() => {
    window.heard = { notes: 0, vibrations: [] };
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (at) {
        window.heard.notes += 1;
        return start.call(this, at);
    };
    Navigator.prototype.vibrate = (pattern) => {
        window.heard.vibrations.push(pattern);
        return true;
    };
}"""


async def is_available(system: System) -> bool:
    """Return whether a customer's poll says that a mitra is available."""
    answer = await system.http.get("/api/client/mitra-availability")
    return bool(answer.json()["available"])


async def is_unavailable(system: System) -> bool:
    """Return whether a customer's poll says that no mitra is available."""
    return not await is_available(system)


# Signing in --------------------------------------------------------------------------------------------------


async def sign_in(system: System, page: Page, phone: str) -> None:
    """Type the phone number and the code. The development inbox shows the code."""
    await page.goto("/mitra/")
    await page.get_by_label("Nomor HP").fill(phone)
    await button(page, "Kirim kode").click()
    await button(page, "Isi kode").click()


async def test_an_invited_mitra_signs_in_with_a_code_and_signs_out(system: System) -> None:
    mitra_id = await system.make.mitra("Kak Sari", online=False)
    phone = await system.database.fetchval("SELECT phone_number FROM people WHERE id = $1", mitra_id)
    page = await (await system.context()).new_page()
    await sign_in(system, page, phone)
    await expect(page.get_by_text("Kak Sari")).to_be_visible()
    await expect(page.get_by_role("heading", name="Kamu offline")).to_be_visible()
    await button(page, "Profil").click()
    await button(page, "Keluar").click()
    await button(page.get_by_role("dialog"), "Keluar").click()
    await expect(page.get_by_label("Nomor HP")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Nomor HP")).to_be_visible()


async def test_the_first_page_lists_the_demo_mitras(system: System) -> None:
    page = await (await system.context()).new_page()
    await page.goto("/mitra/")
    await expect(page.locator(".demo li")).to_have_count(10)
    await page.get_by_text("Kak Sari").click()
    await expect(page.get_by_label("Nomor HP")).to_have_value("0811 0000 0001")


@pytest.mark.rule("S.1", "S.2")
async def test_the_app_tells_an_uninvited_person_that_mitras_need_an_invitation(system: System) -> None:
    page = await (await system.context()).new_page()
    await sign_in(system, page, "0812 555 00001")
    await expect(page.get_by_role("alert")).to_have_text("Nomor ini belum terdaftar. Hubungi tim Curhat.")


async def test_the_app_tells_a_suspended_mitra_about_the_suspension_at_sign_in(system: System) -> None:
    mitra_id = await system.make.mitra(online=False)
    await system.database.execute("UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1", mitra_id)
    phone = await system.database.fetchval("SELECT phone_number FROM people WHERE id = $1", mitra_id)
    page = await (await system.context()).new_page()
    await sign_in(system, page, phone)
    await expect(page.get_by_role("alert")).to_have_text("Akun ini dinonaktifkan. Hubungi tim Curhat.")


async def test_the_app_tells_a_working_mitra_about_a_new_suspension(system: System) -> None:
    mitra, page = await online_mitra(system)
    await system.database.execute("UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1", mitra.id)
    await page.reload()
    blocked = page.get_by_role("heading", name="Akunmu dinonaktifkan")
    await expect(blocked).to_be_visible()
    await system.database.execute("UPDATE mitras SET suspended_at = NULL WHERE id = $1", mitra.id)
    # The app checks the suspension every few seconds, and leaves this screen by itself.
    await expect(blocked).to_have_count(0, timeout=15_000)


# The toggle --------------------------------------------------------------------------------------------------


@pytest.mark.rule("1.1")
async def test_the_toggle_makes_the_mitra_available_and_shows_the_new_state(system: System) -> None:
    _, page = await online_mitra(system)
    await expect(switch(page)).to_be_checked()
    await wait_until(lambda: is_available(system))
    await page.reload()
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()
    await switch(page).click()
    await expect(page.get_by_role("heading", name="Kamu offline")).to_be_visible()
    # A server process answers polls from a cache that is at most 0.2 s old.
    await wait_until(lambda: is_unavailable(system))
    await page.reload()
    await expect(page.get_by_role("heading", name="Kamu offline")).to_be_visible()


@pytest.mark.rule("1.1")
async def test_a_late_answer_to_the_toggle_does_not_overwrite_a_newer_event(system: System) -> None:
    page = await system.page_of(await new_mitra(system), "/mitra/")
    online = page.get_by_role("heading", name="Kamu online", exact=True)

    async def comes_late(route: Route) -> None:
        answer = await route.fetch()
        await expect(online).to_be_visible()  # The event arrives before the answer.
        await route.fulfill(response=answer, json={**await answer.json(), "connected": False})

    await page.route("**/api/mitra/presence", comes_late)
    async with page.expect_response("**/api/mitra/presence") as answered:
        await switch(page).click()
    await (await answered.value).finished()
    await page.evaluate("new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)))")
    await expect(switch(page)).to_be_checked()
    assert await online.is_visible()


async def test_the_toggle_works_with_the_keyboard_only(system: System) -> None:
    page = await system.page_of(await new_mitra(system), "/mitra/")
    await expect(switch(page)).to_be_visible()
    while not await switch(page).evaluate("(one) => one === document.activeElement"):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()


@pytest.mark.rule("1.1", "V.3")
async def test_while_the_network_is_away_the_app_says_that_no_customer_can_reach_the_mitra(
    system: System,
) -> None:
    _, page = await online_mitra(system)
    await page.context.set_offline(True)
    await expect(page.get_by_role("heading", name="Tidak tersambung")).to_be_visible()
    await expect(page.get_by_text("Pelanggan tidak bisa menjangkaumu.")).to_be_visible()
    await expect(switch(page)).to_be_checked()
    await page.context.set_offline(False)
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()
    await wait_until(lambda: is_available(system))


async def test_the_app_reports_a_connection_that_was_lost_in_the_background(system: System) -> None:
    _, page = await online_mitra(system)
    await page.evaluate(BACKGROUND, True)
    await page.context.set_offline(True)
    await expect(page.get_by_text("Tidak ada koneksi")).to_be_visible()
    await page.context.set_offline(False)
    await page.evaluate(BACKGROUND, False)
    await expect(page.get_by_text("Sambungan sempat putus selagi aplikasi ini")).to_be_visible()


# Cards -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("2b.5", "V.2", "V.4", "X.4")
async def test_the_slower_of_two_mitras_sees_the_reason_of_the_closed_card(system: System) -> None:
    customer = await system.customer("Melati")
    (_, sari), (_, budi) = await online_mitra(system), await online_mitra(system, "Kak Budi")
    await system.search(customer)
    for page in (sari, budi):
        await expect(card(page, "Melati")).to_contain_text("30 menit")
        await expect(card(page, "Melati")).to_contain_text("Baru pertama denganmu")
        await expect(card(page, "Melati")).to_contain_text("Mencari bestie")
        await expect(card(page, "Melati").get_by_role("timer")).to_have_text(re.compile(r"^(1:00|0:5\d)$"))
        await expect(page).to_have_title("(1) Curhat Mitra")
    await button(sari, "Terima Melati").click()
    await expect(sari.get_by_role("heading", name="Melati")).to_be_visible()
    await expect(sari).to_have_url(re.compile(r"/mitra/chat/"))
    await expect(budi.get_by_text("Sudah diambil bestie lain")).to_be_visible()
    await expect(button(budi, "Terima Melati")).to_have_count(0)
    # The app removes the card after a few seconds.
    await expect(budi.get_by_text("Sudah diambil bestie lain")).to_have_count(0)
    await expect(budi.get_by_text("Belum ada permintaan")).to_be_visible()


async def hide_closing_of_cards(page: Page) -> None:
    """On every later connection, drop the events that close a card, so that the page still shows the card."""

    def forward(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        server.on_message(lambda frame: None if "request.closed" in str(frame) else route.send(frame))

    await page.route_web_socket("**/realtime", forward)
    await page.reload()
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()


@pytest.mark.rule("2b.5")
@pytest.mark.invariant(1)
async def test_a_mitra_whose_accept_is_too_late_sees_that_another_mitra_was_faster(system: System) -> None:
    customer = await system.customer("Melati")
    (_, sari), (_, budi) = await online_mitra(system), await online_mitra(system, "Kak Budi")
    await hide_closing_of_cards(budi)
    await system.search(customer)
    await expect(button(budi, "Terima Melati")).to_be_visible()
    await button(sari, "Terima Melati").click()
    await expect(sari).to_have_url(re.compile(r"/mitra/chat/"))
    await button(budi, "Terima Melati").click()
    await expect(budi.get_by_text("Sudah diambil bestie lain")).to_be_visible()
    await expect(budi.get_by_text("Kamu sempat menekan Terima, tetapi kalah cepat.")).to_be_visible()


@pytest.mark.rule("2b.5")
@pytest.mark.invariant(1)
async def test_the_app_repeats_an_accept_under_its_idempotency_key_after_the_answer_was_lost(
    system: System,
) -> None:
    customer = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    keys: list[str] = []

    async def lose(route: Route) -> None:
        keys.append(await route.request.header_value("idempotency-key") or "")
        if len(keys) == 1:
            await route.fetch()  # The server gets the command, but the app does not get the answer.
            await route.abort()
        else:
            await route.continue_()

    await page.route("**/requests/*/accept", lose)
    await system.search(customer)
    await button(page, "Terima Melati").click()
    await expect(page).to_have_url(re.compile(r"/mitra/chat/"))
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert await system.database.fetchval("SELECT count(*) FROM sessions WHERE mitra_id = $1", mitra.id) == 1


@pytest.mark.rule("2b.5")
async def test_a_second_press_after_a_failed_accept_uses_the_same_idempotency_key(system: System) -> None:
    customer = await system.customer("Melati")
    _, page = await online_mitra(system)
    keys: list[str] = []
    is_cut = True

    async def cut(route: Route) -> None:
        keys.append(await route.request.header_value("idempotency-key") or "")
        await (route.abort() if is_cut else route.continue_())

    await page.route("**/requests/*/accept", cut)
    await system.search(customer)
    await button(page, "Terima Melati").click()
    await expect(page.get_by_role("alert")).to_contain_text("Jawabanmu belum sampai")
    is_cut = False
    await button(page, "Terima Melati").click()
    await expect(page).to_have_url(re.compile(r"/mitra/chat/"))
    assert len(set(keys)) == 1


@pytest.mark.rule("2b.4")
async def test_a_search_fails_after_every_mitra_has_rejected_the_card(system: System) -> None:
    """A rejected card disappears."""
    customer = await system.customer("Melati")
    (_, sari), (_, budi) = await online_mitra(system), await online_mitra(system, "Kak Budi")
    pairing = await system.search(customer)
    await button(sari, "Tolak Melati").click()
    await expect(card(sari, "Melati")).to_have_count(0)
    await expect(card(budi, "Melati")).to_be_visible()
    await button(budi, "Tolak Melati").click()
    await expect(card(budi, "Melati")).to_have_count(0)
    failed = json_of(await customer.get(f"/pairings/{pairing['id']}"))
    assert failed["failure_tag"] == "all_mitras_rejected"


@pytest.mark.rule("2b.3", "2b.8")
@pytest.mark.parametrize(
    ("how", "said"), [("cancelled", "Dibatalkan pelanggan"), ("time is over", "Waktunya habis")]
)
async def test_a_closed_card_shows_the_reason(system: System, how: str, said: str) -> None:
    customer = await system.customer("Melati")
    _, page = await online_mitra(system)
    pairing = await system.search(customer)
    await expect(card(page, "Melati")).to_be_visible()
    if how == "cancelled":
        json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
    else:
        await system.advance_clock(61)
    await expect(page.get_by_text(said)).to_be_visible()
    await expect(card(page, "Melati")).to_have_count(0)


@pytest.mark.rule("V.6")
async def test_when_a_card_closes_the_focus_moves_to_the_next_card_without_scrolling_the_page(
    system: System,
) -> None:
    _, page = await online_mitra(system)
    for name in ("Melati", "Mawar", "Dahlia", "Kenanga", "Teratai"):
        await system.search(await system.customer(name))
        await expect(card(page, name)).to_be_visible()
    reject = button(card(page, "Dahlia"), "Tolak Dahlia")
    await reject.scroll_into_view_if_needed()
    scrolled = await page.evaluate("scrollY")
    assert scrolled > 0
    await reject.tap()
    await expect(card(page, "Dahlia")).to_have_count(0)
    await expect(page.get_by_role("heading", name="Kenanga")).to_be_focused()
    assert abs(await page.evaluate("scrollY") - scrolled) < 50


@pytest.mark.rule("2b.5", "V.7")
async def test_many_closed_cards_share_one_line_and_cover_neither_chat_nor_form(
    system: System,
) -> None:
    melati, open_still = await system.customer("Melati"), await system.customer("Mawar")
    mitra, page = await online_mitra(system)
    session = await accept_blast(system, melati, mitra)
    others = [await system.customer(f"Tamu {number}") for number in range(12)]
    pairings = [await system.search(customer) for customer in others]
    await system.search(open_still)
    await page.goto(f"/mitra/chat/{session['id']}")
    await expect(page.get_by_role("article")).to_have_count(13)
    for customer, pairing in zip(others, pairings, strict=True):
        json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
    await expect(page.get_by_text("12 permintaan dibatalkan pelanggan")).to_be_visible()
    cards = page.get_by_role("region", name="Permintaan masuk").get_by_role("listitem")
    await expect(cards).to_have_count(2)
    await expect(cards.first.get_by_role("article", name="Mawar")).to_be_visible()
    await expect(page.get_by_label("Tulis pesan")).to_be_in_viewport()
    await expect(page.get_by_text("Kamu terhubung dengan Melati")).to_be_in_viewport()

    # The open card is above the form, and both scroll together. No line appears or disappears while the mitra writes.
    await button(page, "Akhiri").click()
    await expect(page.get_by_text("12 permintaan")).to_have_count(0)
    await expect(cards).to_have_count(1)
    await expect(page.get_by_role("region", name="Permintaan masuk")).to_have_css("position", "static")


@pytest.mark.rule("2b.7")
async def test_going_offline_withdraws_the_requests_until_the_mitra_is_online_again(system: System) -> None:
    customer = await system.customer("Melati")
    _, page = await online_mitra(system)
    await system.search(customer)
    await expect(card(page, "Melati")).to_be_visible()
    await switch(page).click()
    await expect(page.get_by_text("Ditarik karena kamu offline")).to_be_visible()
    await go_online(page)
    await expect(card(page, "Melati")).to_be_visible()


@pytest.mark.rule("2b.6", "X.7")
@pytest.mark.invariant(8)
async def test_a_mitra_at_capacity_loses_the_other_cards_until_a_chat_ends(system: System) -> None:
    melati, mawar = await system.customer("Melati"), await system.customer("Mawar")
    _, page = await online_mitra(system, max_customers=1)
    await system.search(melati)
    await system.search(mawar)
    await expect(page.get_by_role("article")).to_have_count(2)
    await button(page, "Terima Mawar").click()
    await expect(page.get_by_role("heading", name="Mawar")).to_be_visible()
    await expect(page.get_by_text("Kamu sudah penuh")).to_be_visible()
    await button(page, "Beranda").click()
    await expect(page.get_by_role("heading", name="Kamu online, sudah penuh")).to_be_visible()
    # The mitra has free capacity again before the customer's search ends.
    await end_chat(system, mawar.id)
    await expect(card(page, "Melati")).to_be_visible()


async def test_a_mitra_needs_only_the_keyboard_from_the_accept_to_the_end_of_the_chat(system: System) -> None:
    _, page = await online_mitra(system, is_phone=False)
    await system.search(await system.customer("Melati"))
    await expect(card(page, "Melati")).to_be_visible()

    async def tab_to(target: Locator) -> None:
        await expect(target).to_be_visible()
        for _ in range(20):
            await page.keyboard.press("Tab")
            if await target.evaluate("(one) => one === document.activeElement"):
                return
        raise AssertionError(f"{target} cannot be reached with Tab")

    await tab_to(button(page, "Terima Melati"))
    await page.keyboard.press("Enter")
    await tab_to(page.get_by_label("Tulis pesan"))
    await page.keyboard.type("Halo Melati")
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-mark=sent] p")).to_have_text("Halo Melati")
    await expect(page.get_by_label("Tulis pesan")).to_be_focused()
    await tab_to(button(page, "Akhiri"))
    await page.keyboard.press("Enter")
    await tab_to(page.get_by_role("radio").first)
    await page.keyboard.press("ArrowDown")
    await tab_to(button(page, "Akhiri dengan alasan ini"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Kamu mengakhiri sesi ini lebih awal.")).to_be_visible()


async def end_chat(system: System, customer_id: UUID) -> None:
    """End this customer's running chat through the API."""
    customer = await system.person("customer", customer_id)
    session = json_of(await customer.get("/state"))["session"]
    json_of(await customer.post(f"/sessions/{session['id']}/end"))


async def test_a_card_rings_and_vibrates_until_the_mitra_touches_the_page(system: System) -> None:
    customer = await system.customer("Melati")
    mitra = await new_mitra(system)
    page = await (await system.device_of(mitra)).new_page()
    await page.add_init_script(f"({LISTEN})()")
    await page.goto("/mitra/")
    await go_online(page)
    # A browser plays no sound before the person has touched the page.
    await page.reload()
    # When the app connects, the text above the button changes, and the button moves. So the test waits until the app is
    # connected.
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()
    await button(page, "Nyalakan").click()
    await expect(button(page, "Nyalakan")).to_have_count(0)
    await page.evaluate("window.heard = { notes: 0, vibrations: [] }")
    await system.search(customer)
    await expect(card(page, "Melati")).to_be_visible()
    heard = await page.evaluate("window.heard")
    assert heard == {"notes": 3, "vibrations": [[250, 120, 250]]}
    await wait_until(lambda: page.evaluate("window.heard.notes === 6"))
    await page.get_by_role("button", name="HP ini").click()
    await button(page, "Coba suara").click()
    await wait_until(lambda: page.evaluate("window.heard.notes === 9"))
    await button(page, "Tolak Melati").click()
    await expect(card(page, "Melati")).to_have_count(0)


@pytest.mark.rule("V.3")
async def test_a_reloaded_page_shows_the_open_card_until_a_second_phone_accepts_it(system: System) -> None:
    customer = await system.customer("Melati")
    mitra, phone = await online_mitra(system)
    await system.search(customer)
    await expect(card(phone, "Melati")).to_be_visible()
    await phone.reload()
    await expect(card(phone, "Melati")).to_be_visible()
    other = await system.page_of(mitra, "/mitra/")
    await button(other, "Terima Melati").click()
    await expect(other).to_have_url(re.compile(r"/mitra/chat/"))
    await expect(phone.get_by_text("Diterima di perangkat lain")).to_be_visible()
    await expect(phone.get_by_role("button", name=re.compile("^Melati "))).to_be_visible()
    await other.reload()
    await expect(other.get_by_role("heading", name="Melati")).to_be_visible()


@pytest.mark.rule("3.7", "4.1", "4.6", "V.4", "X.4")
async def test_a_returning_customer_can_ask_a_mitra_who_is_in_a_session_with_another_customer(
    system: System,
) -> None:
    melati, mawar = await system.customer("Melati"), await system.customer("Mawar")
    mitra, page = await online_mitra(system)
    await past_chat(system, melati, mitra)
    session = await accept_blast(system, mawar, mitra)
    await page.goto(f"/mitra/chat/{session['id']}")
    await expect(page.get_by_role("heading", name="Mawar")).to_be_visible()
    await ask_again(system, melati, mitra)
    await expect(card(page, "Melati")).to_contain_text("Minta kamu lagi")
    await expect(card(page, "Melati")).to_contain_text("Pernah curhat denganmu")
    await expect(card(page, "Melati").get_by_role("timer")).to_have_text(re.compile(r"^0:(20|1\d)$"))
    await expect(page.get_by_role("heading", name="Mawar")).to_be_visible()
    await button(page, "Terima Melati").click()
    await expect(page.get_by_role("heading", name="Melati")).to_be_visible()
    tabs = page.get_by_role("navigation", name="Chat yang berjalan")
    await expect(tabs.get_by_role("button")).to_have_count(2)
    # Even for a returning customer, the card shows only the call name.
    phone_number = await system.database.fetchval("SELECT phone_number FROM people WHERE id = $1", melati.id)
    shown = await page.content()
    assert str(melati.id) not in shown
    assert phone_number.removeprefix("+62") not in shown


@pytest.mark.rule("4.3", "4.4")
@pytest.mark.parametrize("how", ["offline before", "offline meanwhile", "silence"])
async def test_a_targeted_request_fails_when_the_mitra_is_offline_or_does_not_answer(
    system: System, how: str
) -> None:
    melati = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    await past_chat(system, melati, mitra)
    offer_id = await system.make.offer(duration_minutes=30, price_rp=20_000)
    order = {"offer_id": str(offer_id), "target_mitra_id": str(mitra.id)}
    payment = json_of(await melati.post("/payments", order))
    if how == "offline before":
        # Another mitra is available, so the confirmation still charges the payment.
        await online_mitra(system)
        await switch(page).click()
        await expect(page.get_by_role("heading", name="Kamu offline")).to_be_visible()
    pairing = json_of(await melati.post(f"/payments/{payment['id']}/confirm"))["pairing"]
    if how == "offline before":
        assert pairing["failure_tag"] == "targeted_mitra_offline"
        await page.reload()
        await expect(page.get_by_role("heading", name="Kamu offline")).to_be_visible()
        await expect(page.get_by_role("article")).to_have_count(0)
        return
    await expect(card(page, "Melati")).to_be_visible()
    if how == "silence":
        await system.advance_clock(21)
        await expect(page.get_by_text("Waktunya habis")).to_be_visible()
    else:
        await switch(page).click()
        await expect(page.get_by_text("Ditarik karena kamu offline")).to_be_visible()
    tag = "targeted_mitra_timeout" if how == "silence" else "targeted_mitra_offline"

    async def has_failed() -> bool:
        # When the mitra goes offline, the server withdraws the card. After the server has withdrawn the card, the
        # worker fails the pairing.
        failure_tag = json_of(await melati.get(f"/pairings/{pairing['id']}"))["failure_tag"]
        assert failure_tag in (None, tag)
        return failure_tag is not None

    await wait_until(has_failed)


# Chats -------------------------------------------------------------------------------------------------------


async def write(page: Page, text: str) -> None:
    """Type a message into the open chat and send the message."""
    await page.get_by_label("Tulis pesan").fill(text)
    await button(page, "Kirim").click()


@pytest.mark.rule("V.3")
@pytest.mark.invariant(10)
@pytest.mark.parametrize("said_before", [0, 1])
async def test_a_message_that_arrives_during_a_slow_load_of_messages_stays_visible(
    system: System, said_before: int
) -> None:
    melati = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    may_be_asked, may_arrive = asyncio.Event(), asyncio.Event()
    answers: asyncio.Queue[Request] = asyncio.Queue()

    async def delay(route: Route) -> None:
        await may_be_asked.wait()
        answer = await route.fetch()
        answers.put_nowait(route.request)
        await may_arrive.wait()
        await route.fulfill(response=answer)

    await page.route("**/api/mitra/sessions/*/messages", delay)
    session = await accept_blast(system, melati, mitra)
    row = page.get_by_role("button", name=re.compile("^Melati "))
    await expect(row).to_be_visible()
    await expect(row).not_to_contain_text("Belum ada pesan")
    texts = ["Halo Kak", "Ada waktu?", "Aku mulai ya"]
    for text in texts[:said_before]:
        await send_message(melati, session, text)
    may_be_asked.set()
    asked = await answers.get()
    for text in texts[said_before:]:
        await send_message(melati, session, text)
    await expect(row).to_contain_text("Aku mulai ya")
    await expect(row).to_contain_text("3 pesan belum dibaca")
    async with page.expect_event("requestfinished", lambda request: request is asked):
        may_arrive.set()
    await send_message(melati, session, "Kak?")
    await expect(row).to_contain_text("Kak?")
    await expect(row).to_contain_text("4 pesan belum dibaca")
    await row.click()
    await expect(page.locator(".theirs p")).to_have_text([*texts, "Kak?"])


@pytest.mark.rule("V.3", "X.7")
async def test_each_of_several_concurrent_chats_shows_its_own_unread_messages(system: System) -> None:
    melati, mawar = await system.customer("Melati"), await system.customer("Mawar")
    mitra, page = await online_mitra(system)
    first, second = await accept_blast(system, melati, mitra), await accept_blast(system, mawar, mitra)
    await send_message(melati, first, "Halo Kak")
    await send_message(melati, first, "Ada waktu?")
    await expect(page.get_by_text("2 dari 3 chat terisi", exact=True)).to_be_visible()
    row = page.get_by_role("button", name=re.compile("^Melati "))
    await expect(row).to_contain_text("Ada waktu?")
    await expect(row).to_contain_text("2 pesan belum dibaca")
    await row.click()
    await expect(page.locator(".theirs p")).to_have_text(["Halo Kak", "Ada waktu?"])
    await write(page, "Ada, cerita saja")
    await expect(page.locator("[data-mark=sent]")).to_have_count(1)
    await send_message(mawar, second, "Kak, aku mulai ya")
    tabs = page.get_by_role("navigation", name="Chat yang berjalan")
    await expect(tabs.get_by_role("button", name=re.compile("Mawar"))).to_contain_text("1 pesan belum dibaca")
    await tabs.get_by_role("button", name=re.compile("Mawar")).click()
    await expect(page.locator(".theirs p")).to_have_text("Kak, aku mulai ya")
    await expect(tabs.get_by_text("belum dibaca")).to_have_count(0)
    async with melati.socket() as socket:
        read = json_of(await melati.get(f"/sessions/{first['id']}/messages"))["items"]
        assert all(message["read_at"] for message in read if message["sender"] == "customer")
        await tabs.get_by_role("button", name="Melati").click()
        await expect(page.get_by_label("Tulis pesan")).to_be_visible()

        async def typing_is_shown() -> bool:
            await page.get_by_label("Tulis pesan").press_sequentially("a")
            return any(frame["op"] == "signal" for frame in socket.events)

        await wait_until(typing_is_shown)
        await socket.connection.send(f'{{"op": "signal", "type": "typing", "session_id": "{first["id"]}"}}')
        await expect(page.get_by_text("Melati sedang mengetik…")).to_be_visible()
    # After a reload, the app shows the same chat with its messages and the unsent draft.
    draft = await page.get_by_label("Tulis pesan").input_value()
    await page.reload()
    await expect(page.get_by_role("heading", name="Melati")).to_be_visible()
    await expect(page.get_by_label("Tulis pesan")).to_have_value(draft)
    await expect(page.locator(".mine p")).to_have_text("Ada, cerita saja")


@pytest.mark.rule("V.3")
async def test_a_message_that_a_mitra_writes_without_a_network_survives_a_reload_and_is_sent_once(
    system: System,
) -> None:
    customer = await system.customer("Melati")
    mitra = await new_mitra(system)
    page = await (await system.device_of(mitra, service_workers="allow")).new_page()
    await page.goto("/mitra/")
    await go_online(page)
    session = await accept_blast(system, customer, mitra)
    await page.get_by_role("button", name=re.compile("^Melati ")).click()
    await expect(page.get_by_text("Kamu terhubung dengan Melati")).to_be_visible()
    await page.evaluate("navigator.serviceWorker.ready")
    await wait_until(lambda: page.evaluate("caches.keys().then((names) => names.length === 1)"))
    await page.context.set_offline(True)
    await write(page, "Saat putus")
    await page.reload()
    await expect(page.locator("[data-mark=sending] p")).to_have_text("Saat putus")
    await page.context.set_offline(False)
    await expect(page.locator("[data-mark=sent]")).to_have_count(1)
    messages = json_of(await customer.get(f"/sessions/{session['id']}/messages"))["items"]
    assert [message["text"] for message in messages] == ["Saat putus"]


@pytest.mark.rule("T.5", "X.8")
async def test_a_mitra_leaves_a_chat_in_one_press_with_a_reason_that_only_operators_read(
    system: System,
) -> None:
    customer = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    session = await accept_blast(system, customer, mitra)
    await page.goto(f"/mitra/chat/{session['id']}")
    await button(page, "Akhiri").click()
    await page.get_by_text("Aku merasa tidak aman").click()
    await button(page, "Akhiri sesi").click()
    await expect(page.get_by_text("Kamu mengakhiri sesi ini lebih awal.")).to_be_visible()

    async def has_ended() -> bool:
        row = await system.database.fetchrow(
            "SELECT leave_reason, end_note FROM sessions WHERE id = $1 AND status = 'ended'", session["id"]
        )
        return row is not None and tuple(row) == ("felt_unsafe", None)

    await wait_until(has_ended)
    seen = json_of(await customer.get(f"/sessions/{session['id']}"))
    assert seen["end_reason"] == "mitra_ended"
    assert "felt_unsafe" not in str(seen)


@pytest.mark.rule("X.8", "V.3")
@pytest.mark.parametrize("is_looking", [True, False])
async def test_a_mitra_sees_that_the_customer_ended_the_chat_and_can_still_read_the_chat(
    system: System, is_looking: bool
) -> None:
    customer = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    session = await accept_blast(system, customer, mitra)
    await send_message(customer, session, "Makasih ya Kak")
    if is_looking:
        await page.goto(f"/mitra/chat/{session['id']}")
        await expect(page.get_by_text("Makasih ya Kak")).to_be_visible()
    else:
        await expect(page.get_by_role("button", name=re.compile("^Melati "))).to_be_visible()
    json_of(await customer.post(f"/sessions/{session['id']}/end"))
    if is_looking:
        await expect(page.get_by_text("Pelanggan mengakhiri sesi ini.")).to_be_visible()
    else:
        await expect(page.get_by_text("Sesi dengan Melati selesai")).to_be_visible()
        await expect(page.get_by_text("1 sesi")).to_be_visible()
        await button(page, "Riwayat").click()
        await expect(page.get_by_role("heading", name="Hari ini")).to_be_visible()
        await page.get_by_role("button", name=re.compile("Baca sesi dengan Melati")).click()
    await expect(page.locator(".theirs p")).to_have_text("Makasih ya Kak")
    await page.reload()
    await expect(page.locator(".theirs p")).to_have_text("Makasih ya Kak")


@pytest.mark.rule("V.3")
async def test_the_app_shows_the_end_of_a_chat_that_ended_while_the_phone_was_offline(system: System) -> None:
    customer = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    session = await accept_blast(system, customer, mitra)
    await page.goto(f"/mitra/chat/{session['id']}")
    await expect(page.get_by_role("heading", name="Melati")).to_be_visible()
    await page.context.set_offline(True)
    await expect(page.get_by_text("Tidak ada koneksi")).to_be_visible()
    await send_message(customer, session, "Aku pamit ya")
    json_of(await customer.post(f"/sessions/{session['id']}/end"))
    await page.context.set_offline(False)
    await expect(page.get_by_text("Pelanggan mengakhiri sesi ini.")).to_be_visible()
    await expect(page.locator(".theirs p")).to_have_text("Aku pamit ya")


# More time ---------------------------------------------------------------------------------------------------


async def set_silence_action(system: System, action: str) -> None:
    """Set the default action of later extensions."""
    await system.database.execute(
        "UPDATE configuration SET value = $1 WHERE key = 'extension_default_action_on_timeout'", action
    )


@pytest.mark.rule("5.1", "5.2", "5.4", "5.5")
@pytest.mark.invariant(7)
@pytest.mark.parametrize(
    ("how", "silence", "said"),
    [
        ("accepted", "auto_approve", "Waktu ditambah 15 menit"),
        ("rejected", "auto_approve", "Kamu menolak. Waktu tidak ditambah"),
        ("silence", "auto_approve", "Tidak dijawab, jadi waktu ditambah 15 menit"),
        ("silence", "auto_reject", "Tidak dijawab, jadi waktu tidak ditambah"),
        ("declined", "auto_approve", "Pembayarannya gagal. Waktu tidak ditambah"),
        ("ended", "auto_approve", "Batal: sesinya sudah selesai"),
    ],
)
async def test_the_extension_card_shows_the_default_action_and_the_outcome(
    system: System, how: str, silence: str, said: str
) -> None:
    customer = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    session = await accept_blast(system, customer, mitra)
    await set_silence_action(system, silence)
    try:
        extension = await ask_for_more_time(system, customer, session)
    finally:
        await set_silence_action(system, "auto_approve")
    asked = page.get_by_role("article", name="Melati minta tambah waktu")
    await expect(asked).to_contain_text("+15 menit")
    await expect(asked).to_contain_text(
        "Tidak dijawab berarti setuju" if silence == "auto_approve" else "Tidak dijawab berarti tidak"
    )
    await expect(asked.get_by_role("timer")).to_have_text(re.compile(r"^0:(10|0\d)$"))
    if how == "declined":
        behaviour = {"behaviour": "decline", "payment_id": extension["payment_id"]}
        json_of(await system.http.put("/api/dev/gateway", json=behaviour))
    if how in ("accepted", "declined"):
        await button(page, "Setujui tambahan waktu Melati").click()
    elif how == "rejected":
        await button(page, "Tolak tambahan waktu Melati").click()
    elif how == "ended":
        json_of(await customer.post(f"/sessions/{session['id']}/end"))
    await expect(page.get_by_text(said)).to_be_visible(timeout=20_000)
    await expect(asked).to_have_count(0)
    if "ditambah 15" in said:
        await expect(page.get_by_role("timer", name="Sisa waktu", exact=True)).to_have_text(
            re.compile(r"^(45:00|44:\d\d)$")
        )


@pytest.mark.rule("5.6")
@pytest.mark.invariant(7)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_going_offline_during_a_session_never_approves_an_extension(system: System, when: str) -> None:
    customer = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    session = await accept_blast(system, customer, mitra)
    await expect(page.get_by_role("button", name=re.compile("^Melati "))).to_be_visible()
    if when == "before":
        await switch(page).click()
        await expect(page.get_by_text("tambahan waktu ditolak otomatis")).to_be_visible()
    extension = await ask_for_more_time(system, customer, session)
    if when == "meanwhile":
        await expect(page.get_by_text("Tidak dijawab berarti setuju")).to_be_visible()
        await switch(page).click()
    await expect(page.get_by_text("Ditolak otomatis: kamu offline atau tidak tersambung")).to_be_visible()
    state = json_of(await customer.get(f"/sessions/{session['id']}"))["extension"]
    assert (state["id"], state["status"], state["decided_by"]) == (
        extension["id"],
        "rejected",
        "mitra_unreachable",
    )
    charges = await system.http.get(
        "/api/dev/gateway/charges", params={"payment_id": extension["payment_id"]}
    )
    assert json_of(charges)["charges"] == []


@pytest.mark.rule("5.6", "V.3")
@pytest.mark.invariant(7)
async def test_an_extension_is_rejected_when_the_phone_of_the_mitra_loses_the_network(system: System) -> None:
    customer = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    session = await accept_blast(system, customer, mitra)
    await ask_for_more_time(system, customer, session)
    await expect(page.get_by_text("Tidak dijawab berarti setuju")).to_be_visible()
    await page.context.set_offline(True)

    async def is_rejected() -> bool:
        extension: dict[str, Any] = json_of(await customer.get(f"/sessions/{session['id']}"))["extension"]
        return (extension["status"], extension["decided_by"]) == ("rejected", "mitra_unreachable")

    await wait_until(is_rejected)
    await page.context.set_offline(False)
    await expect(page.get_by_text("Ditolak otomatis: kamu offline atau tidak tersambung")).to_be_visible()


@pytest.mark.rule("5.5", "V.3")
async def test_the_extension_card_stays_above_the_chat_after_a_reload(system: System) -> None:
    customer = await system.customer("Melati")
    mitra, page = await online_mitra(system)
    session = await accept_blast(system, customer, mitra)
    await page.goto(f"/mitra/chat/{session['id']}/end")
    await expect(button(page, "Akhiri sesi")).to_be_visible()
    await ask_for_more_time(system, customer, session)
    await expect(page.get_by_text("Tidak dijawab berarti setuju")).to_be_visible()
    await page.reload()
    await expect(page.get_by_text("Tidak dijawab berarti setuju")).to_be_visible()
    await button(page, "Setujui tambahan waktu Melati").click()
    # Only open cards are above the form, so the decided card disappears.
    await expect(page.get_by_text("Tidak dijawab berarti setuju")).to_have_count(0)
    await expect(page.get_by_role("timer")).to_have_text(re.compile("^4"))
