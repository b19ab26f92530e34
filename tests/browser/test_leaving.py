"""Test a customer who leaves a chat, what the app asks afterwards, and the warning about contact details."""

from typing import Any
from uuid import UUID

import pytest
from playwright.async_api import Page, expect

from tests.browser.system import System, json_of, wait_until


async def say(system: System, session: dict[str, Any], *senders: str) -> None:
    """Write one message of each of these sides."""
    for sender in senders:
        await system.database.execute(
            "INSERT INTO messages (session_id, sender, client_message_id, text) VALUES ($1, $2, 'm', 'halo')",
            UUID(session["id"]),
            sender,
        )


@pytest.mark.rule("T.5", "T.1", "T.2")
async def test_a_customer_leaves_at_once_without_a_network_and_the_report_and_the_block_arrive_later(
    system: System,
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        await say(system, session, "mitra")
        page = await (await system.device_of(customer, service_workers="allow")).new_page()
        await page.goto("/app/")
        await expect(page).to_have_url(f"{system.url}/app/chat")
        await page.evaluate("navigator.serviceWorker.ready")
        await wait_until(lambda: page.evaluate("caches.keys().then((names) => names.length === 1)"))
        await page.context.set_offline(True)
        await page.get_by_role("button", name="Akhiri", exact=True).click()
        await page.get_by_text("Jangan pertemukan kami lagi").click()
        await page.get_by_role("button", name="Laporkan").last.click()
        await page.get_by_text("Ancaman").click()
        await page.get_by_role("button", name="Akhiri, laporkan, jangan bertemu lagi").click()
        await expect(page.get_by_text("Kamu mengakhiri sesi ini.")).to_be_visible()
        await page.reload()
        await expect(page.get_by_text("Periksa internetmu")).to_be_visible()
        await page.context.set_offline(False)

        async def is_stored() -> bool:
            row = await system.database.fetchrow(
                """
                SELECT end_reason, (SELECT reason FROM reports WHERE session_id = sessions.id),
                    (SELECT blocked_by FROM blocks WHERE session_id = sessions.id)
                FROM sessions WHERE id = $1
                """,
                UUID(session["id"]),
            )
            return row is not None and tuple(row) == ("customer_ended", "threat", "customer")

        await wait_until(is_stored)
        await expect(page.get_by_text("laporanmu kami terima")).to_be_visible()
        await expect(page.get_by_label("Tulis pesan")).to_have_count(0)


@pytest.mark.rule("T.6", "T.1")
async def test_a_customer_who_felt_uncomfortable_is_offered_a_block_and_a_report(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        await say(system, session, "customer", "mitra")
        page = await system.page_of(customer)
        await page.get_by_role("button", name="Akhiri", exact=True).click()
        await page.get_by_role("button", name="Ya, akhiri").click()
        await page.get_by_role("button", name="Tidak nyaman").click()
        await expect(page.locator(".answers").get_by_role("button", name="Laporkan")).to_be_visible()
        await page.get_by_role("button", name="Jangan pertemukan kami lagi").click()
        await expect(page.get_by_text("Kalian tidak akan dipertemukan lagi.")).to_be_visible()
    row = await system.database.fetchrow(
        "SELECT answer, (SELECT count(*) FROM blocks WHERE session_id = $1) FROM ratings WHERE session_id = $1",
        UUID(session["id"]),
    )
    assert row is not None
    assert tuple(row) == ("uncomfortable", 1)


def sent_by(page: Page) -> list[str]:
    """Collect the bodies of requests and the frames that the page sends from now on, without heartbeats."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
    page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))),
    )
    return sent


@pytest.mark.rule("T.7")
async def test_the_warning_about_contact_details_stays_on_the_device(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        device = await system.device_of(customer)
        page = await device.new_page()
        sent = sent_by(page)
        await page.goto("/app/")
        field, send = page.get_by_label("Tulis pesan"), page.get_by_role("button", name="Kirim", exact=True)
        await field.fill("WA aku ya, 0812 3456 7890")
        await send.click()
        question = page.get_by_role("alert").filter(has_text="Di sini kamu anonim. Tetap kirim?")
        await expect(question).to_be_visible()
        await question.get_by_role("button", name="Ubah dulu").click()
        await expect(field).to_be_focused()
        await field.fill("Halo, nomorku 0812 3456 7890")
        # The app asks once per message.
        await send.click()
        await expect(page.locator("[data-mark=sent] p")).to_have_text("Halo, nomorku 0812 3456 7890")
        with_number = [text for text in sent if "0812" in text]
        assert len(with_number) == 1
        assert "WA aku" not in str(sent)
        assert not [text for text in sent if "anonim" in text or "contact" in text.lower()]
        # The reader gets a hint, and only the reader's own press sends something.
        said = {"client_message_id": "m", "text": "Follow IG: kaksari"}
        json_of(await mitra.post(f"/sessions/{session['id']}/messages", said, key=""))
        hint = page.locator(".theirs .hint")
        await expect(hint).to_contain_text("Kamu tidak perlu membalas atau membukanya.")
        await hint.get_by_role("button", name="Laporkan").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert not [text for text in sent if "/report" in text]
