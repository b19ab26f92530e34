"""Test the customer's screens for extensions, and for a second chat with the same bestie."""

import re
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.system import System, json_of
from tests.support.server import Person, Socket

LATER = 30_000


def button(page: Page, name: str) -> Locator:
    """Find a button by its exact name."""
    return page.get_by_role("button", name=name, exact=True)


async def targeted_card(mitra: Person, socket: Socket) -> dict[str, Any]:
    """Wait for the card of a targeted request to this mitra."""
    return await socket.wait_for("request.offered", kind="targeted")


async def ask_again(system: System, customer: Person, mitra: Person, socket: Socket) -> Page:
    """Make a past chat, pay for the same mitra again from the history, and wait for the waiting screen."""
    await system.past_chat(customer, mitra, socket)
    page = await system.page_of(customer, "/app/history")
    await button(page, "Curhat lagi dengan Kak Sari").click()
    await expect(page.get_by_text("Curhat lagi dengan Kak Sari")).to_be_visible()
    await page.get_by_text("30 menit").click()
    await button(page, "Lanjut").click()
    await expect(page.get_by_text("Curhat lagi dengan Kak Sari")).to_be_visible()
    await expect(page.get_by_text("Sesudah itu kami tanya Kak Sari dulu.")).to_be_visible()
    await button(page, "Bayar Rp20.000").click()
    await expect(page.get_by_role("dialog", name="Menunggu konfirmasi bestie...")).to_be_visible()
    return page


async def list_charges(system: System, customer: Person) -> list[int]:
    """List the amounts of this customer's approved charges."""
    rows = await system.database.fetch(
        "SELECT id FROM payments WHERE customer_id = $1 ORDER BY id", customer.id
    )
    amounts = []
    for row in rows:
        found = json_of(
            await system.http.get("/api/dev/gateway/charges", params={"payment_id": str(row["id"])})
        )
        amounts += [charge["amount_rp"] for charge in found["charges"] if charge["status"] == "approved"]
    return amounts


@pytest.mark.rule("3.1", "3.2", "3.6", "4.1", "4.2", "V.3")
async def test_a_customer_asks_the_same_bestie_again_from_the_history(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        page = await ask_again(system, customer, mitra, socket)
        await expect(page.get_by_role("timer")).to_have_text(re.compile(r"^0:(20|1\d)$"))
        await expect(button(page, "Batalkan")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Menunggu konfirmasi bestie...")).to_be_visible()
        card = await targeted_card(mitra, socket)
        assert (card["is_returning"], card["call_name"]) == (True, "Melati")
        json_of(await mitra.post(f"/requests/{card['id']}/accept"))
        await expect(page).to_have_url(f"{system.url}/app/chat")


@pytest.mark.rule("3.3", "3.6")
@pytest.mark.parametrize("other_is_there", [True, False])
async def test_the_app_tells_a_customer_that_the_chosen_bestie_is_offline(
    system: System, other_is_there: bool
) -> None:
    customer = await system.customer()
    async with system.mitra("Kak Budi") as (other, _), system.mitra() as (mitra, socket):
        await other.put("/presence", {"online": False})
        await system.past_chat(customer, mitra, socket)
        await mitra.put("/presence", {"online": False})
        if other_is_there:
            await other.put("/presence", {"online": True})
        page = await system.page_of(customer, "/app/history")
        await button(page, "Curhat lagi dengan Kak Sari").click()
        popup = page.get_by_role("dialog", name="Bestie sedang tidak online")
        await expect(popup).to_be_visible()
        if other_is_there:
            await popup.get_by_role("button", name="Chat dengan bestie lain").click()
            await expect(page.get_by_text("Mau curhat berapa lama?")).to_be_visible()
            await expect(page.get_by_text("Curhat lagi dengan")).to_have_count(0)
        else:
            await expect(popup.get_by_role("button")).to_have_count(1)
            await popup.get_by_role("button", name="Tutup").click()
            await expect(popup).to_have_count(0)


@pytest.mark.rule("3.4")
async def test_the_app_shows_the_offline_popup_when_the_bestie_is_at_capacity(system: System) -> None:
    customer, other = await system.customer(), await system.customer("Mawar")
    async with system.mitra(max_customers=1) as (mitra, socket):
        await system.past_chat(customer, mitra, socket)
        await system.chat(other, mitra, socket)
        page = await system.page_of(customer, "/app/history")
        await button(page, "Curhat lagi dengan Kak Sari").click()
        await expect(page.get_by_role("dialog", name="Bestie sedang tidak online")).to_be_visible()


@pytest.mark.rule("3.5", "3.9", "4.3", "4.4", "V.3")
@pytest.mark.parametrize("how", ["rejected", "timed out", "went offline"])
async def test_the_payment_of_a_failed_targeted_request_pays_for_another_bestie(
    system: System, how: str
) -> None:
    customer = await system.customer()
    async with system.mitra("Kak Budi") as (other, other_socket), system.mitra() as (mitra, socket):
        await other.put("/presence", {"online": False})
        page = await ask_again(system, customer, mitra, socket)
        await other.put("/presence", {"online": True})
        card = await targeted_card(mitra, socket)
        if how == "rejected":
            json_of(await mitra.post(f"/requests/{card['id']}/reject"))
        elif how == "timed out":
            await system.advance_clock(21)
        else:
            await mitra.put("/presence", {"online": False})
        popup = page.get_by_role("dialog", name="Bestie sedang tidak online")
        await expect(popup).to_contain_text("Rp20.000 tetap berlaku: kamu tidak membayar lagi")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Escape")
        await expect(popup).to_be_visible()
        await page.reload()
        await popup.get_by_role("button", name="Chat dengan bestie lain").click()
        await expect(page.get_by_role("heading", name="Mencari bestie…")).to_be_visible()
        await expect(page.get_by_role("timer")).to_have_text(re.compile(r"^(1:00|0:5\d)$"))
        # The mitra of the failed targeted pairing gets no request of the blast.
        assert json_of(await mitra.get("/requests"))["items"] == []
        blast = await other_socket.wait_for("request.offered")
        json_of(await other.post(f"/requests/{blast['id']}/accept"))
        await expect(page.get_by_role("heading", name="Kak Budi")).to_be_visible()
        assert await list_charges(system, customer) == [
            20_000,
            20_000,
        ]


@pytest.mark.rule("3.5", "3.8", "X.1")
async def test_the_popup_offers_only_to_end_the_journey_when_no_other_bestie_is_available(
    system: System,
) -> None:
    """The only button closes the popup and ends the journey."""
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        page = await ask_again(system, customer, mitra, socket)
        card = await targeted_card(mitra, socket)
        json_of(await mitra.post(f"/requests/{card['id']}/reject"))
        await mitra.put("/presence", {"online": False})
        popup = page.get_by_role("dialog", name="Bestie sedang tidak online")
        await expect(popup).to_contain_text("belum ada bestie lain")
        await expect(popup.locator("button:not(.help)")).to_have_count(1)
        await popup.get_by_role("button", name="Tutup").click()
        await expect(page.get_by_role("heading", name="Bestie pilihanmu belum bisa menemani")).to_be_visible()
        await expect(page.get_by_text("Rp20.000 yang kamu bayar aman tercatat")).to_be_visible()


@pytest.mark.rule("4.2", "X.1")
async def test_cancelling_the_wait_for_a_bestie_ends_the_journey(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        page = await ask_again(system, customer, mitra, socket)
        await button(page, "Batalkan").click()
        await button(page, "Ya, berhenti").click()
        await expect(page.get_by_role("heading", name="Pencarian dibatalkan")).to_be_visible()


async def ask_for_more(page: Page) -> None:
    """Open the extension sheet from the reminder, and ask for 15 minutes."""
    await button(page, "Tambah waktu").first.click()
    sheet = page.get_by_role("dialog", name="Tambah berapa lama?")
    await expect(sheet.get_by_role("radio")).to_have_count(2)  # The trial is not offered.
    await sheet.get_by_text("+15 menit").click()
    await button(page, "Minta tambahan, Rp10.000").click()


@pytest.mark.rule("5.1", "5.3", "5.4", "5.6", "5.7")
@pytest.mark.parametrize(
    ("how", "said", "charged"),
    [
        ("accepted", "Sesimu bertambah 15 menit. Rp10.000 sudah dibayar.", [10_000]),
        ("silence", "Sesimu bertambah 15 menit. Rp10.000 sudah dibayar.", [10_000]),
        ("rejected", "Bestie belum bisa menambah waktu. Kamu tidak membayar apa-apa.", []),
        ("offline", "Bestie sedang tidak menerima tambahan waktu. Kamu tidak membayar apa-apa.", []),
        ("declined", "pembayarannya ditolak. Tidak ada uang yang diambil.", []),
    ],
)
async def test_a_customer_sees_a_waiting_extension_and_later_its_decision(
    system: System, how: str, said: str, charged: list[int]
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        await system.database.execute(
            "UPDATE sessions SET ends_at = ends_at - interval '26 minutes' WHERE id = $1", session["id"]
        )
        page = await system.page_of(customer, "/app/chat")
        if how == "offline":
            await mitra.put("/presence", {"online": False})
        await ask_for_more(page)
        if how != "offline":
            overlay = page.get_by_role("dialog", name="Menunggu konfirmasi bestie...")
            await expect(overlay.get_by_role("timer")).to_have_text(re.compile(r"^0:(10|0\d)$"))
            await expect(overlay).to_contain_text("disetujui dan Rp10.000 dibayar")
            asked = await socket.wait_for("extension.requested")
            if how == "declined":
                behaviour = {"behaviour": "decline", "payment_id": asked["payment_id"]}
                json_of(await system.http.put("/api/dev/gateway", json=behaviour))
            if how in ("accepted", "declined"):
                json_of(await mitra.post(f"/extensions/{asked['id']}/accept"))
            elif how == "rejected":
                json_of(await mitra.post(f"/extensions/{asked['id']}/reject"))
        await expect(page.get_by_text(said)).to_be_visible(timeout=LATER)
        await button(page, "Lanjut curhat").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.get_by_role("timer", name="Sisa waktu")).to_have_text(
            re.compile(r"^1[89]:\d\d$" if charged else r"^[34]:\d\d$")
        )
        assert (await list_charges(system, customer))[1:] == charged
