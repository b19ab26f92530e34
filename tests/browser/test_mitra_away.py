"""Test what the customer sees when the mitra is away, when silence means yes, and after the chat."""

import pytest
from playwright.async_api import expect

from tests.browser.system import System, json_of, wait_until


@pytest.mark.rule("X.11", "V.3")
async def test_the_customer_sees_a_lost_bestie_and_its_return_and_ends_with_a_review(system: System) -> None:
    async def lose_mitra() -> None:
        """Note that the mitra has been away for a minute, as a worker does."""
        await system.database.execute(
            "UPDATE sessions SET mitra_away_since = curhat_now() - interval '61 seconds' WHERE mitra_id = $1",
            mitra.id,
        )
        await page.reload()
        await expect(page.get_by_text("Kak Sari sedang terputus.")).to_be_visible()

    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
    page = await system.page_of(customer, "/app/chat")
    await lose_mitra()
    async with mitra.socket():
        # A server process hears the mitra, and tells the customer.
        await expect(page.get_by_text("Kak Sari sudah kembali.")).to_be_visible()
        refused = await customer.post(f"/sessions/{session['id']}/end", {"review": True})
        assert refused.json()["code"] == "mitra_not_away"
    await lose_mitra()
    await page.get_by_role("button", name="Akhiri dan minta diperiksa").click()
    await page.get_by_role("dialog").get_by_role("button", name="Akhiri dan minta diperiksa").click()
    await expect(page.get_by_role("heading", name="Maaf, sesinya tidak berjalan baik")).to_be_visible()
    reason = (
        "SELECT reason FROM review_cases JOIN payments ON payments.id = payment_id WHERE customer_id = $1"
    )
    assert await system.database.fetchval(reason, customer.id) == "mitra_away"


@pytest.mark.rule("5.5")
async def test_more_time_can_be_asked_for_at_any_time_and_the_sheet_says_what_silence_means(
    system: System,
) -> None:
    customer = await system.customer()
    await system.make.offer(duration_minutes=15, price_rp=10_000, purpose="extension")
    async with system.mitra() as (mitra, socket):
        await system.chat(customer, mitra, socket)
        page = await system.page_of(customer, "/app/chat")
        await page.get_by_role("button", name="Tambah waktu").click()
        await expect(
            page.get_by_text("Kalau tidak dijawab dalam 10 detik, itu berarti setuju")
        ).to_be_visible()


async def test_a_link_opens_only_after_a_warning_and_a_message_can_be_answered(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        path = f"/sessions/{session['id']}/messages"
        said = {"client_message_id": "m", "text": "Coba baca https://contoh.id/tenang."}
        json_of(await mitra.post(path, said, key=""))
        page = await system.page_of(customer, "/app/chat")
        await page.get_by_role("link", name="https://contoh.id/tenang").click()
        link = page.get_by_role("link", name="Buka tautan")
        await expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
        await page.get_by_role("button", name="Tetap di sini").click()
        await page.get_by_role("group", name="Pilihan pesan").press("Enter")
        await page.get_by_role("button", name="Balas", exact=True).click()
        await page.locator("textarea").fill("Makasih, kak")
        await page.get_by_role("button", name="Kirim").click()
        await expect(page.locator(".mine .quote")).to_contain_text("Kak Sari")

        async def is_stored() -> bool:
            page_of_messages = json_of(await mitra.get(path))
            return page_of_messages["items"][0]["reply_to_message_id"] is not None

        await wait_until(is_stored)
