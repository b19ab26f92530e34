"""Test reports, notices and concerns in real browsers: the customer, the mitra and three operators."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.mitras import accept_blast, button, online_mitra, send_message, switch
from tests.browser.operators import control_center_page, operator
from tests.browser.system import System, json_of


async def confirm(page: Page, name: str) -> None:
    """Press the button of this name in the open dialog, and wait until the dialog has closed."""
    dialog = page.get_by_role("dialog")
    await button(dialog, name).click()
    await expect(dialog).to_have_count(0)


async def report_message(page: Page, text: str) -> None:
    """As the customer, report this message of the mitra."""
    await page.get_by_text(text).click()
    await button(page, "Laporkan").click()
    sheet = page.get_by_role("dialog", name="Laporkan Kak Sari")
    send = button(sheet, "Kirim laporan")
    await expect(send).to_be_disabled()
    await sheet.get_by_label("Minta kontak").check()
    await expect(button(sheet, "1 pesan ditandai")).to_be_visible()
    await sheet.get_by_label("Mau menambahkan sesuatu?").fill("Dia minta terus.")
    await send.click()
    await button(page.get_by_role("dialog", name="Laporanmu diterima"), "Selesai").click()


async def warn_mitra(desk: Page, text: str) -> None:
    """As an operator, find the report in the queue, read the marked message in its context, and warn the mitra."""
    row = desk.get_by_role("row", name=re.compile("Asked for contact details"))
    await expect(row).to_contain_text("in 23 h")
    await desk.keyboard.press("j")
    await desk.keyboard.press("Enter")
    await expect(desk.locator("li.marked")).to_contain_text(text)
    await expect(desk.locator(".messages li")).to_have_count(3)
    await expect(desk.get_by_text("“Dia minta terus.”")).to_be_visible()
    await desk.get_by_label("warning", exact=True).check()
    await desk.get_by_label("Note").fill("Jelas meminta kontak.")
    await button(desk, "Decide…").click()
    told = desk.get_by_role("dialog")
    await expect(told).to_contain_text("We acted on your report")
    await expect(told).to_contain_text("Do not ask for or give contact details.")
    await confirm(desk, "Decide")
    await expect(desk.get_by_text("“Jelas meminta kontak.”")).to_be_visible()


async def acknowledge_and_appeal(page: Page) -> None:
    """As the mitra, leave the warning, see that it is needed to go online, appeal, acknowledge, and go online."""
    warning = page.get_by_role("article", name="Peringatan untukmu")
    await expect(warning).to_contain_text("Jangan meminta atau memberi kontak pribadi.")
    await button(page, "Kembali").click()
    await switch(page).click()
    await expect(page.get_by_role("heading", name="Kamu offline")).to_be_visible()
    await switch(page).click()
    await expect(warning).to_be_visible()
    await button(page, "Ajukan keberatan").click()
    await page.get_by_label("Kenapa keputusan ini keliru?").fill("Itu nomor layanan.")
    await button(page, "Kirim keberatan").click()
    await expect(warning).to_contain_text("Keberatanmu sedang diperiksa.")
    await button(page, "Saya mengerti").click()
    await expect(button(page, "Saya mengerti")).to_have_count(0)
    await button(page, "Kembali").click()
    await switch(page).click()
    await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()


async def overturn(desk: Page) -> None:
    """As another operator, overturn the decision."""
    await desk.locator("tbody a").first.click()
    await expect(desk.get_by_text("“Itu nomor layanan.”")).to_be_visible()
    await desk.get_by_label("decision overturned").check()
    await desk.get_by_label("Note").fill("Memang nomor layanan.")
    await button(desk, "Decide the appeal…").click()
    await confirm(desk, "decision overturned")
    await expect(desk.get_by_text("“Memang nomor layanan.”")).to_be_visible()


@pytest.mark.rule("T.2", "T.3", "T.4")
async def test_a_report_is_decided_both_sides_are_told_and_an_appeal_overturns_it(system: System) -> None:
    mitra, mitra_page = await online_mitra(system)
    customer = await system.customer("Melati")
    session = await accept_blast(system, customer, mitra)
    await send_message(customer, session, "Boleh cerita pelan-pelan?")
    await send_message(mitra, session, "Minta nomor WA kamu dong.")
    await send_message(customer, session, "Jangan, ya.")

    # The mitra's page shows nothing about the report.
    page = await system.page_of(customer, "/app/chat")
    await report_message(page, "Minta nomor WA kamu dong.")
    json_of(await customer.post(f"/sessions/{session['id']}/end"))
    await expect(mitra_page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()
    assert json_of(await mitra.get("/notices"))["items"] == []

    operator_id, _ = await operator(system)
    desk = await control_center_page(system, operator_id, "/reports")
    await warn_mitra(desk, "Minta nomor WA kamu dong.")

    # The customer learns that the team acted.
    await page.goto("/app/")
    await page.get_by_role("button", name="Ada pemberitahuan untukmu").click()
    await expect(page.get_by_role("article")).to_contain_text("Kami mengambil tindakan atas laporanmu")
    await expect(page.get_by_role("listitem")).to_contain_text("Minta kontak")
    await expect(page.get_by_role("listitem")).to_contain_text("Kami mengambil tindakan.")
    await button(page, "Saya mengerti").click()
    await expect(button(page, "Saya mengerti")).to_have_count(0)

    # The mitra's page opens the warning by itself. Without an acknowledgement, the mitra cannot go online again.
    await acknowledge_and_appeal(mitra_page)

    # The operator who decided cannot decide the appeal. A colleague can.
    await desk.reload()
    await expect(desk.get_by_text("You made the decision")).to_be_visible()
    colleague_id, _ = await operator(system, "reviewer")
    await overturn(await control_center_page(system, colleague_id, "/reports"))
    await mitra_page.get_by_role("button", name="Ada pemberitahuan untukmu").click()
    await expect(mitra_page.get_by_role("article", name="Keberatanmu diterima")).to_be_visible()


@pytest.mark.rule("H.3", "P.8")
async def test_a_mitra_who_worries_tells_the_team_and_sends_the_help_card(system: System) -> None:
    mitra, page = await online_mitra(system)
    customer = await system.customer("Melati")
    session = await accept_blast(system, customer, mitra)
    await send_message(customer, session, "Aku sudah tidak kuat lagi.")
    await page.goto(f"/mitra/chat/{session['id']}")
    await button(page, "Saya khawatir").click()
    await expect(page.get_by_text("Ini bukan layanan darurat.")).to_be_visible()
    await button(page, "Kirim kartu bantuan").click()
    await page.get_by_label("Yang perlu tim tahu").fill("Dia sendirian di rumah.")
    await button(page, "Ada bahaya sekarang").click()
    await expect(page.get_by_text("Tim sudah diberi tahu: ada bahaya sekarang.")).to_be_visible()
    await button(page, "Kembali ke chat").click()
    await expect(page.get_by_role("log")).to_contain_text("119 ext 8")

    operator_id, _ = await operator(system)
    desk = await control_center_page(system, operator_id, "/reports")
    row = desk.get_by_role("row", name=re.compile("danger now"))
    await row.get_by_role("link").first.click()
    await expect(desk.get_by_text("“Dia sendirian di rumah.”")).to_be_visible()
    # The concern is the ground for the whole chat, and for the phone number.
    await button(desk, "Show the chat…").click()
    await desk.get_by_label("Reason").fill("Kekhawatiran mitra")
    await confirm(desk, "Show")
    await expect(desk.get_by_text("Aku sudah tidak kuat lagi.")).to_be_visible()
    await button(desk, "Show the number…").click()
    await desk.get_by_label("Reason").fill("Nyawa pelanggan; menghubungi 112.")
    await confirm(desk, "Show the number")
    phone = await system.database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
    await expect(desk.get_by_text(phone)).to_be_visible()
    assert phone not in await page.content()


@pytest.mark.rule("T.3")
async def test_a_suspended_customer_reads_until_when_instead_of_opening_a_payment(system: System) -> None:
    async with system.mitra():
        customer = await system.customer("Melati")
        operator_id, _ = await operator(system)
        desk = await control_center_page(system, operator_id, f"/customers/{customer.id}")
        await button(desk, "Suspend…").click()
        await desk.get_by_label("Why?").fill("Mengancam lewat telepon.")
        await confirm(desk, "Suspend")
        await expect(desk.get_by_text("“Mengancam lewat telepon.”")).to_be_visible()

        page = await system.page_of(customer, "/app/")
        notice = page.get_by_role("article", name="Akunmu dinonaktifkan")
        await expect(notice).to_contain_text("kamu tidak bisa memulai sesi baru.")
        await expect(notice).not_to_contain_text("Mengancam")
        await button(page, "Kembali").click()
        await button(page, "Curhat").click()
        await page.get_by_role("button", name=re.compile("Lanjut|Bayar")).click()
        await expect(notice).to_be_visible()

        await button(desk, "Lift the suspension…").click()
        await desk.get_by_label("Why?").fill("Ternyata orang lain.")
        await confirm(desk, "Lift")
        await expect(page.get_by_role("article", name="Akunmu aktif lagi")).to_be_visible()
