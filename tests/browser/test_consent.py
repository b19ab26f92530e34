"""Test in a real browser that people read and accept the texts one by one, and that minors are refused."""

import re

import pytest
from playwright.async_api import Page, Request, expect

from tests.browser.mitras import button, new_mitra, switch
from tests.browser.system import System
from tests.support.texts import note_all, publish_next, published_drafts

AGREE = "Saya setuju"


async def agree(page: Page, title: str, progress: str) -> None:
    """Read this text to its end, and agree to it."""
    heading = page.get_by_role("heading", level=1)
    await expect(heading).to_have_text(title)
    await expect(heading).to_be_focused()
    await expect(page.get_by_text(progress)).to_be_visible()
    await expect(page.get_by_role("checkbox")).to_have_count(0)
    await button(page, AGREE).click()


@pytest.mark.rule("P.1", "P.2")
async def test_a_customer_accepts_each_text_by_itself_before_paying_and_again_after_a_change(
    system: System,
) -> None:
    customer = await system.customer()
    async with system.mitra(), published_drafts(system.database):
        page = await system.page_of(customer)
        await button(page, "Curhat").click()
        year = page.get_by_label("Tahun lahir")
        await expect(year).to_have_value("")
        # Nothing on the screen says which year is needed.
        await expect(page.locator("main")).not_to_contain_text(re.compile(r"18|dewasa"))
        await button(page, "Lanjut").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await year.fill("1990")
        await button(page, "Lanjut").click()
        await agree(page, "Ketentuan Curhat", "Teks 1 dari 3")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Pemberitahuan privasi")
        # A reload, here in the middle, does not ask for anything again that was answered.
        await page.reload()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Pemberitahuan privasi")
        await button(page, AGREE).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Izin: hal tentang kesehatan")
        await page.context.set_offline(True)
        await button(page, AGREE).click()
        await expect(page.get_by_role("alert")).to_contain_text("Tidak ada koneksi")
        await page.context.set_offline(False)
        await expect(page.get_by_text("Teks 3 dari 3")).to_be_visible()
        await button(page, AGREE).click()
        await page.get_by_text("30 menit").click()
        # A new version is published while the customer chooses. The server refuses, and nothing is charged.
        await publish_next(system.database, "terms")
        await button(page, "Lanjut").click()
        await agree(page, "Baru", "Teks 1 dari 3")
        await page.get_by_text("30 menit").click()
        await button(page, "Lanjut").click()
        await expect(page.locator(".total")).to_have_text("Rp20.000")


@pytest.mark.rule("P.2")
async def test_the_year_of_a_minor_never_leaves_the_device_and_the_refusal_is_remembered(
    system: System,
) -> None:
    customer = await system.customer()
    sent: list[str] = []
    async with published_drafts(system.database):
        page = await system.page_of(customer, "/app/payment")

        def note(request: Request) -> None:
            if request.method == "POST":
                sent.append(request.url)

        page.on("request", note)
        await page.get_by_label("Tahun lahir").fill("2020")
        await button(page, "Lanjut").click()
        refusal = page.get_by_role("heading", name="Curhat untuk orang dewasa")
        await expect(refusal).to_be_focused()
        await button(page, "Lihat nomor bantuan").click()
        await expect(page.get_by_role("dialog").get_by_role("link", name=re.compile("112"))).to_be_visible()
        await page.reload()
        await expect(refusal).to_be_visible()
        assert [url for url in sent if "acceptances" in url] == []
    rows = await system.database.fetchval("SELECT count(*) FROM acceptances WHERE user_id = $1", customer.id)
    assert rows == 0


@pytest.mark.rule("P.1")
async def test_a_mitra_who_wants_to_go_online_accepts_the_code_of_conduct(system: System) -> None:
    mitra = await new_mitra(system)
    async with published_drafts(system.database):
        await note_all(system.database, mitra)
        await publish_next(system.database, "code_of_conduct")
        page = await system.page_of(mitra, "/mitra/")
        await switch(page).click()
        await agree(page, "Baru", "Teks 4 dari 4")
        await expect(page.get_by_role("heading", name="Kamu offline")).to_be_visible()
        await switch(page).click()
        await expect(page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()
