"""Test push for a customer: permission, delivery to a closed app, a press, and the switch in the profile."""

import json
from uuid import UUID

import pytest
from playwright.async_api import expect

from tests.browser.mitras import button, send_message
from tests.browser.pushed import BLOCKED, PushDevice, give_push_service, open_installed_app, wait_for_payload
from tests.browser.system import System, wait_until
from tests.support.journey import request_of
from tests.support.push import push_service

# Simulate a browser whose user has neither allowed nor blocked notifications. The browser counts the app's requests for
# permission, and answers each request with `answer`.
PERMISSION = """(answer) => {
    let permission = 'default';
    window.asked = 0;
    Object.defineProperty(Notification, 'permission', { get: () => permission });
    Notification.requestPermission = async () => {
        window.asked += 1;
        return (permission = answer);
    };
}"""


async def subscriptions(system: System, customer_id: UUID) -> int:
    """Count this customer's subscriptions in the server's database."""
    count: int = await system.database.fetchval(
        "SELECT count(*) FROM push_subscriptions WHERE role = 'customer' AND user_id = $1", customer_id
    )
    return count


@pytest.mark.parametrize("answer", ["granted", "denied"])
async def test_the_app_asks_for_permission_when_the_customer_presses_the_button_during_a_search(
    system: System, answer: str
) -> None:
    customer = await system.customer()
    async with system.mitra(), push_service() as vendor:
        device = await system.device_of(customer, service_workers="allow")
        await give_push_service(device, system, vendor.browser())
        await device.add_init_script(f"({PERMISSION})('{answer}')")
        page = await open_installed_app(device, "/app/")
        await expect(page.get_by_text("Hai, Melati")).to_be_visible()
        await system.search(customer)
        await expect(page.get_by_role("heading", name="Mencari bestie…")).to_be_visible()
        await expect(page.get_by_text("Biarkan layar ini terbuka.")).to_be_visible()
        assert await page.evaluate("window.asked") == 0
        await button(page, "Beri tahu aku").click()
        await expect(button(page, "Beri tahu aku")).to_have_count(0)
        assert await page.evaluate("window.asked") == 1
        if answer == "granted":
            await expect(page.get_by_text("begitu bestie siap, kami beri tahu.")).to_be_visible()
            assert await subscriptions(system, customer.id) == 1
        else:
            await expect(page.get_by_text("Biarkan layar ini terbuka.")).to_be_visible()
            assert await subscriptions(system, customer.id) == 0


@pytest.mark.rule("V.5")
async def test_a_closed_app_shows_notifications_of_the_match_and_of_a_message(system: System) -> None:
    customer = await system.customer()
    async with push_service() as vendor:
        browser = vendor.browser()
        device = await system.device_of(customer, service_workers="allow")
        await give_push_service(device, system, browser)
        device_push = PushDevice(device, system, "/app/")
        async with system.mitra() as (mitra, _):
            page = await open_installed_app(device, "/app/")
            pairing = await system.search(customer)
            await expect(page.get_by_text("begitu bestie siap, kami beri tahu.")).to_be_visible()
            await page.close()
            request_id = await request_of(system.database, UUID(pairing["id"]), mitra.id)
            session = (await mitra.post(f"/requests/{request_id}/accept")).json()["session"]
            matched = await wait_for_payload(vendor, browser, "matched")
            await device_push.deliver(matched)
            await send_message(mitra, session, "Rahasia")
            message = await wait_for_payload(vendor, browser, "message")
            assert "Rahasia" not in json.dumps(message)
            assert "Sari" not in json.dumps([matched, message])
            await device_push.deliver(message)
            # The notification of the message has replaced the notification of the match.
            assert [one["title"] for one in await device_push.shown()] == ["Pesan baru dari bestie"]
            pressed = await device_push.press(message)
            assert pressed == {"opened": "/app/chat", "focused": None}

            # Another notification arrives. The customer opens the app without a press on the notification, and sees the
            # message. Then the notification disappears.
            await device_push.deliver(message)
            again = await device.new_page()
            await again.goto(str(pressed["opened"]))
            await expect(again.locator(".theirs p")).to_have_text("Rahasia")
            await wait_until(device_push.is_empty)

            # The app is open and does not show the chat.
            await button(again, "Beranda").click()
            await button(again, "Riwayat").click()
            await expect(again.get_by_role("heading", name="Riwayat")).to_be_visible()
            await device_push.deliver(message)
            # The value `focused` is the path at which the page was opened. After the press, the page moves to the chat.
            assert await device_push.press(message) == {"opened": None, "focused": "/app/chat"}
            await expect(again).to_have_url(f"{system.url}/app/chat")


async def test_the_switch_in_the_profile_removes_and_restores_the_subscription(
    system: System,
) -> None:
    customer = await system.customer()
    async with push_service() as vendor:
        device = await system.device_of(customer, service_workers="allow")
        await give_push_service(device, system, vendor.browser())
        page = await open_installed_app(device, "/app/profile")
        switch = page.get_by_role("switch", name="Notifikasi")
        await expect(switch).to_be_checked()
        assert await subscriptions(system, customer.id) == 1
        await switch.click()
        await expect(switch).not_to_be_checked()
        assert await subscriptions(system, customer.id) == 0
        # The switch stays off after a reload, even though the browser allows notifications.
        await page.reload()
        await expect(page.get_by_text("Kami bisa memberi tahu")).to_be_visible()
        await expect(switch).not_to_be_checked()
        assert await subscriptions(system, customer.id) == 0
        await switch.click()
        await expect(switch).to_be_checked()
        assert await subscriptions(system, customer.id) == 1


async def test_the_switch_does_not_change_when_the_server_does_not_answer(system: System) -> None:
    customer = await system.customer()
    async with push_service() as vendor:
        device = await system.device_of(customer, service_workers="allow")
        await give_push_service(device, system, vendor.browser())
        page = await open_installed_app(device, "/app/profile")
        switch = page.get_by_role("switch", name="Notifikasi")
        await expect(switch).to_be_checked()
        await device.set_offline(True)
        # When the profile opens, the app sends the subscription again. The request with the subscription fails, and the
        # switch must stay on.
        await button(page, "Kembali").click()
        async with page.expect_event("requestfailed", lambda request: request.url.endswith("/push-key")):
            await button(page, "Profil").click()
        await expect(page.get_by_text("Kami memberi tahu kalau bestie siap")).to_be_visible()
        await expect(switch).to_be_checked()
        await switch.click()
        toast = page.locator(".toasts").get_by_text("Tidak ada koneksi. Periksa internetmu")
        await expect(toast).to_be_visible()
        await expect(switch).to_be_checked()
        await device.set_offline(False)
        await switch.click()
        await expect(switch).not_to_be_checked()

        async def is_gone() -> bool:
            return await subscriptions(system, customer.id) == 0

        await wait_until(is_gone)


async def test_the_app_says_where_to_allow_blocked_notifications(system: System) -> None:
    page = await (await system.device_of(await system.customer())).new_page()
    await page.add_init_script(BLOCKED)
    await page.goto("/app/profile")
    await expect(page.get_by_text("Notifikasi diblokir di HP ini.")).to_be_visible()
    await expect(page.get_by_role("switch", name="Notifikasi")).to_be_disabled()
