"""Test blocks in real browsers: both apps block a past chat's other side, list the block, and undo it (T.1)."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.mitras import button, online_mitra, past_chat
from tests.browser.system import System, json_of


async def block_in_the_menu(page: Page, name: str) -> None:
    """On the screen of a past chat, block the other side."""
    await button(page, "Pilihan lain").click()
    await button(page.get_by_role("dialog"), "Blokir").click()
    sheet = page.get_by_role("dialog", name=f"Blokir {name}?")
    await expect(sheet).to_contain_text("tidak diberi tahu")
    await button(sheet, "Blokir").click()
    await button(page.get_by_role("dialog", name="Sudah diblokir"), "Selesai").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.rule("T.1", "3.3")
async def test_a_customer_blocks_a_bestie_and_undoes_it_when_asking_for_the_same_bestie(
    system: System,
) -> None:
    mitra, mitra_page = await online_mitra(system)
    customer = await system.customer("Melati")
    session = await past_chat(system, customer, mitra)
    page = await system.page_of(customer, f"/app/history/{session['id']}")
    await block_in_the_menu(page, "Kak Sari")

    # The mitra is online, but the customer sees the own block, and its undoing leads to the payment.
    await button(page, "Curhat lagi dengan Kak Sari").click()
    told = page.get_by_role("dialog", name="Kamu memblokir Kak Sari")
    await button(told, "Batalkan blokir").click()
    await expect(page).to_have_url(f"{system.url}/app/again/{session['id']}")
    assert json_of(await customer.get("/blocks"))["items"] == []
    await expect(mitra_page.get_by_role("heading", name="Kamu online", exact=True)).to_be_visible()


@pytest.mark.rule("T.1")
async def test_a_mitra_blocks_a_customer_and_undoes_it_in_the_profile(system: System) -> None:
    mitra, page = await online_mitra(system)
    customer = await system.customer("Melati")
    session = await past_chat(system, customer, mitra)
    await page.goto(f"{system.url}/mitra/history/{session['id']}")
    await block_in_the_menu(page, "Melati")
    status = json_of(await customer.get(f"/mitras/{mitra.id}/status"))
    assert (status["status"], status["blocked_by_you"]) == ("offline", False)

    await page.goto(f"{system.url}/mitra/profile")
    await button(page.get_by_role("group", name="Melati"), "Batalkan blokir").click()
    await expect(page.get_by_text("Blokir dibatalkan")).to_be_visible()
    assert json_of(await mitra.get("/blocks"))["items"] == []
