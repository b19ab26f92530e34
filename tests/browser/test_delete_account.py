"""Test in a browser that a customer deletes the account, after the open payment was cancelled."""

import pytest
from playwright.async_api import expect

from tests.browser.system import System, json_of


@pytest.mark.rule("P.3")
async def test_a_customer_deletes_the_account_with_a_code_and_is_signed_out(system: System) -> None:
    async with system.mitra():
        customer = await system.customer("Melati")
        offer_id = str(await system.make.offer())
        payment = json_of(await customer.post("/payments", {"offer_id": offer_id}))
        page = await system.page_of(customer, "/app/profile")
        await page.get_by_role("button", name="Hapus akun").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Lanjut, kirim kode").click()
        phone = await system.database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
        await dialog.get_by_label("Nomor teleponmu").fill(phone)
        await dialog.get_by_role("button", name="Kirim kode").click()
        code = dialog.get_by_label("Kode")
        await expect(code).to_be_visible()
        inbox = json_of(await system.http.get("/api/dev/inbox", params={"phone": phone}))
        await code.fill(inbox["messages"][0]["code"])
        await dialog.get_by_role("button", name="Hapus akun saya").click()
        await expect(dialog.get_by_text("Masih ada pembayaran")).to_be_visible()
        json_of(await customer.post(f"/payments/{payment['id']}/cancel"))
        await dialog.get_by_role("button", name="Hapus akun saya").click()
        await expect(page.get_by_text("Akunmu sudah dihapus.")).to_be_visible()
        await expect(page.locator("input[type=tel]")).to_be_visible()
        name = await system.database.fetchval("SELECT call_name FROM customers WHERE id = $1", customer.id)
        assert name == "Akun dihapus"
