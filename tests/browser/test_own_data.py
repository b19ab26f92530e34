"""Test in a browser that a customer downloads the own data, and deletes a past chat."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.screens import talk
from tests.browser.system import System, json_of


@pytest.mark.rule("P.6", "P.7")
async def test_a_customer_downloads_the_own_data_and_deletes_a_chat_that_is_then_gone_for_both(
    system: System, tmp_path: Path
) -> None:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer("Melati")
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])
        json_of(await customer.post(f"/sessions/{session['id']}/end"))
        page = await system.page_of(customer, "/app/profile")
        await page.get_by_role("button", name="Unduh data saya").click()
        dialog = page.get_by_role("dialog", name="Unduh data saya")
        phone = await system.database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
        await dialog.get_by_label("Nomor HP-mu").fill(phone)
        await dialog.get_by_role("button", name="Kirim kode").click()
        code = dialog.get_by_label("Kode")
        await code.fill("000000")
        await dialog.get_by_role("button", name="Unduh").click()
        await expect(dialog.get_by_text("Kodenya salah")).to_be_visible()
        inbox = json_of(await system.http.get("/api/dev/inbox", params={"phone": phone}))
        await code.fill(inbox["messages"][0]["code"])
        async with page.expect_download() as downloading:
            await dialog.get_by_role("button", name="Unduh").click()
        download = await downloading.value
        assert download.suggested_filename.endswith(".html")
        file = tmp_path / "data.html"
        await download.save_as(file)
        await expect(dialog.get_by_text("Datamu sudah diunduh.")).to_be_visible()
        # The file opens without a server, and shows the chat.
        reader = await page.context.new_page()
        await reader.goto(file.as_uri())
        await expect(reader.get_by_role("heading", name="Data saya di Curhat")).to_be_visible()
        await expect(reader.get_by_text("Takut mengecewakan orang-orang.")).to_be_visible()

        await page.goto(f"/app/history/{session['id']}")
        await expect(page.get_by_text("Takut mengecewakan orang-orang.")).to_be_visible()
        await page.locator("header button").last.click()
        await page.get_by_role("button", name="Hapus obrolan ini").click()
        await page.get_by_role("button", name="Hapus obrolan", exact=True).click()
        await expect(page.get_by_text("Isi obrolan ini sudah dihapus.")).to_be_visible()
        await expect(page.get_by_text("Takut mengecewakan orang-orang.")).to_have_count(0)
        await expect(page.get_by_role("button", name="Curhat lagi")).to_be_visible()
        of_mitra = json_of(await mitra.get(f"/sessions/{session['id']}/messages"))
        assert (of_mitra["items"], of_mitra["text_gone"]) == ([], True)
