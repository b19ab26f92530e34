"""Test what helps a mitra at work, in a real browser: summary, past requests, answers, note, break, hidden page."""

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.mitras import (
    accept_blast,
    button,
    card,
    new_mitra,
    online_mitra,
    past_chat,
    send_message,
    switch,
)
from tests.browser.pushed import PushDevice, give_push_service, open_installed_app, wait_for_payload
from tests.browser.system import System, json_of, wait_until
from tests.support.push import push_service

LOCKED = """(isLocked) => {
    const get = () => (isLocked ? 'hidden' : 'visible');
    Object.defineProperty(document, 'visibilityState', { get, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.mark.rule("M.1", "V.4")
async def test_a_mitra_looks_back_at_the_day_and_at_each_request(system: System) -> None:
    mitra, page = await online_mitra(system)
    await past_chat(system, await system.customer("Melati"), mitra)
    pairing = await system.search(customer := await system.customer("Mawar"))
    await expect(card(page, "Mawar")).to_contain_text("Berbayar")
    json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
    await page.get_by_role("button", name="Hari ini").click()
    today = page.get_by_role("region", name="Hari ini")
    await expect(today).to_contain_text("1 sesi")
    await expect(today).to_contain_text("1 berbayar · 0 uji coba")
    await expect(today).to_contain_text("2 permintaan")
    await expect(page.locator("main")).not_to_contain_text("Rp")
    await button(page, "Riwayat permintaan").click()
    rows = page.locator("main li")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("Dibatalkan pelanggan")
    await expect(rows.nth(1)).to_contain_text("Kamu terima")
    await expect(page.locator("main")).not_to_contain_text("Rp")
    await page.get_by_role("button", name=re.compile("Buka sesi dengan .*Melati")).click()
    await expect(page).to_have_url(re.compile("/mitra/history/"))


@pytest.mark.rule("M.2")
async def test_a_mitra_inserts_a_canned_answer_and_keeps_a_note(system: System) -> None:
    mitra, page = await online_mitra(system)
    customer = await system.customer("Melati")
    await button(page, "Profil").click()
    await button(page, "Jawaban siap pakai").click()
    for text in ("Pelan-pelan saja, ya.", "Halo, aku di sini untukmu."):
        await button(page, "Tambah jawaban").click()
        await page.get_by_role("textbox").last.fill(text)
    await button(page, "Naikkan jawaban 2").click()
    await button(page, "Simpan").click()
    await expect(page.get_by_text("Tersimpan")).to_be_visible()
    saved = json_of(await mitra.get("/canned-answers"))["texts"]
    assert saved == ["Halo, aku di sini untukmu.", "Pelan-pelan saja, ya."]

    session = await accept_blast(system, customer, mitra)
    await page.goto(f"/mitra/chat/{session['id']}")
    await button(page, "Jawaban dan catatan").click()
    await button(page, saved[0]).click()
    message = page.get_by_role("textbox")
    await expect(message).to_have_value(saved[0])
    sent = json_of(await customer.get(f"/sessions/{session['id']}/messages"))["items"]
    assert sent == []  # The answer is only inserted.

    await button(page, "Jawaban dan catatan").click()
    await page.get_by_label("Catatan", exact=True).fill("Suka dipanggil Mel.")
    await button(page, "Simpan catatan").click()
    await expect(page.get_by_text("Catatan tersimpan")).to_be_visible()
    # The note is there again in the past chat.
    json_of(await customer.post(f"/sessions/{session['id']}/end"))
    await page.goto(f"/mitra/history/{session['id']}")
    await button(page, "Catatan pribadi").click()
    await expect(page.get_by_label("Catatan", exact=True)).to_have_value("Suka dipanggil Mel.")


@pytest.mark.rule("M.3")
async def test_a_break_lasts_until_the_mitra_goes_online_again(system: System) -> None:
    mitra, page = await online_mitra(system)
    await button(page, "Istirahat").click()
    await button(page, "Istirahat 15 menit").click()
    await expect(page.get_by_role("heading", name=re.compile("Istirahat sampai"))).to_be_visible()
    await expect(switch(page)).not_to_be_checked()
    second = await system.page_of(mitra, "/mitra/")
    for each in (page, second):
        await each.reload()
        await expect(each.get_by_role("timer", name="Sisa istirahat")).to_have_text(
            re.compile("^(15:00|14:)")
        )
    await system.database.execute(
        "UPDATE mitras SET break_until = curhat_now() + interval '2 seconds' WHERE id = $1", mitra.id
    )
    await page.reload()
    await expect(page.get_by_role("heading", name="Waktu istirahatmu selesai")).to_be_visible()
    await expect(switch(page)).not_to_be_checked()
    await button(page, "Online lagi").click()
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()
    await expect(second.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()


async def chatting_device(system: System, vendor: Any) -> tuple[Any, ...]:
    """Return a mitra's phone with push and a running chat."""
    mitra, browser = await new_mitra(system), vendor.browser()
    device = await system.device_of(mitra, service_workers="allow")
    await give_push_service(device, system, browser)
    page = await open_installed_app(device, "/mitra/")
    await switch(page).click()
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()
    customer = await system.customer("Melati")
    session = await accept_blast(system, customer, mitra)
    return page, browser, PushDevice(device, system, "/mitra/"), customer, session


@pytest.mark.rule("4.7", "M.4", "V.5")
async def test_a_locked_phone_announces_a_message_and_opens_its_chat(system: System) -> None:
    async with push_service() as vendor:
        page, browser, phone, customer, session = await chatting_device(system, vendor)
        await phone.page()
        await expect(page.get_by_role("button", name=re.compile("^Melati "))).to_be_visible()
        # The screen is locked, and the app still runs behind it. So the server sends no push.
        await page.evaluate(LOCKED, True)
        for text in ("Kak, aku takut", "Kak?"):
            await send_message(customer, session, text)

        async def is_shown() -> bool:
            return [one["title"] for one in await phone.shown()] == ["Pesan baru dari pelangganmu"]

        await wait_until(is_shown)
        assert "takut" not in str(await phone.shown())
        assert "Melati" not in str(await phone.shown())
        tag = (await phone.shown())[0]["tag"]
        await page.evaluate(LOCKED, False)
        await wait_until(phone.is_empty)

        # The app is closed. The push has the same tag, and opens the chat.
        await page.close()
        await send_message(customer, session, "Halo?")
        pushed = await wait_for_payload(vendor, browser, "customer_message")
        assert pushed["topic"] == tag
        await phone.deliver(pushed)
        opened = await phone.press(pushed)
        assert opened == {"opened": f"/mitra/chat/{session['id']}", "focused": None}


@pytest.mark.rule("V.2")
async def test_the_tabs_of_the_chats_carry_their_time_left(system: System) -> None:
    mitra, _ = await online_mitra(system)
    sessions = [
        await accept_blast(system, await system.customer(name), mitra) for name in ("Melati", "Mawar")
    ]
    page = await system.page_of(mitra, f"/mitra/chat/{sessions[0]['id']}")
    tabs = page.get_by_role("navigation", name="Chat yang berjalan").get_by_role("timer")
    await expect(tabs).to_have_count(2)
    await expect(tabs.first).to_have_text(re.compile(r"^(30:00|29:\d\d)$"))
