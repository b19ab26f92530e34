"""Test the installed app of the mitra: size, installation, start without a network, and notifications."""

import json

import pytest
from playwright.async_api import expect

from tests.browser.mitras import button, go_online, new_mitra, switch
from tests.browser.pushed import PushDevice, give_push_service, open_installed_app, wait_for_payload
from tests.browser.system import System, json_of, wait_until
from tests.browser.test_network import FIRST_LOAD_LIMIT_BYTES, size_of
from tests.support.push import push_service


@pytest.mark.parametrize("who", ["nobody", "offline", "online"])
async def test_the_first_load_stays_below_40_kilobytes(system: System, who: str) -> None:
    mitra = await new_mitra(system)
    if who == "online":
        json_of(await mitra.put("/presence", {"online": True}))
    device = await system.context() if who == "nobody" else await system.device_of(mitra)
    page = await device.new_page()
    loaded: list[str] = []
    page.on("response", lambda answer: loaded.append(answer.url.removeprefix(system.url)))
    await page.goto("/mitra/", wait_until="networkidle")
    await expect(page.get_by_label("Nomor HP") if who == "nobody" else switch(page)).to_be_visible()
    bytes_of = {path: size_of(path) for path in loaded if path == "/mitra/" or path.endswith((".js", ".css"))}
    assert len(bytes_of) > 3
    assert sum(bytes_of.values()) < FIRST_LOAD_LIMIT_BYTES, (sum(bytes_of.values()), bytes_of)


async def test_the_app_can_be_installed_and_opens_without_a_network(system: System) -> None:
    device = await system.device_of(await new_mitra(system), service_workers="allow")
    page = await open_installed_app(device, "/mitra/")
    session = await device.new_cdp_session(page)
    manifest = await session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    parsed = json.loads(manifest["data"])
    assert (parsed["start_url"], parsed["short_name"], parsed["lang"]) == ("/mitra/", "Curhat Mitra", "id")
    for icon in parsed["icons"]:
        answer = await page.request.get(icon["src"])
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    await device.set_offline(True)
    await page.goto("/mitra/profile")
    await expect(page.get_by_role("heading", name="Profil")).to_be_visible()
    other = await device.new_page()
    await other.goto("/mitra/")
    await expect(other.get_by_role("heading", name="Belum tersambung")).to_be_visible()
    await device.set_offline(False)
    await expect(switch(other)).to_be_visible()


@pytest.mark.rule("4.1", "V.5")
async def test_a_closed_app_shows_a_notification_of_a_new_request(
    system: System,
) -> None:
    mitra = await new_mitra(system)
    async with push_service() as vendor:
        browser = vendor.browser()
        device = await system.device_of(mitra, service_workers="allow")
        await give_push_service(device, system, browser)
        device_push = PushDevice(device, system, "/mitra/")
        page = await open_installed_app(device, "/mitra/")
        await go_online(page)
        await page.get_by_role("button", name="Notifikasi diizinkan").click()
        await expect(page.get_by_text("Notifikasi menyala.")).to_be_visible()
        await button(page, "Kirim uji coba").click()
        await expect(page.get_by_text("Uji coba dikirim.")).to_be_visible()
        await device_push.deliver(await wait_for_payload(vendor, browser, "test"))

        # The app is closed, and a request arrives as a push message. The message contains neither the customer's name
        # nor the topic.
        await page.close()
        await system.search(await system.customer("Melati"))
        pushed = await wait_for_payload(vendor, browser, "request_offered")
        assert "Melati" not in json.dumps(pushed)
        await device_push.deliver(pushed)
        pressed = await device_push.press(pushed)
        assert pressed == {"opened": "/mitra/", "focused": None}
        assert pushed["topic"] not in [one["tag"] for one in await device_push.shown()]

        # A second notification arrives. The mitra opens the app without a press on the notification, and sees the card.
        # Then the notification disappears.
        await device_push.deliver(pushed)
        again = await device.new_page()
        await again.goto(str(pressed["opened"]))
        await expect(button(again, "Terima Melati")).to_be_visible()
        await wait_until(device_push.is_empty)

        # The app is open on another screen. A press on the notification shows the card on the screen that is already
        # open.
        await button(again, "Profil").click()
        await expect(again.get_by_role("heading", name="Profil")).to_be_visible()
        await device_push.deliver(pushed)
        # The value `focused` is the path at which the page was opened.
        assert await device_push.press(pushed) == {"opened": None, "focused": "/mitra/"}
        await expect(again).to_have_url(f"{system.url}/mitra/profile")
        await expect(button(again, "Terima Melati")).to_be_visible()


@pytest.mark.parametrize("permission", ["default", "denied"])
async def test_the_app_asks_for_permission_only_when_an_online_mitra_presses_the_button(
    system: System, permission: str
) -> None:
    page = await (await system.device_of(await new_mitra(system))).new_page()
    await page.add_init_script(
        f"""let permission = '{permission}';
        window.asked = 0;
        Object.defineProperty(Notification, 'permission', {{ get: () => permission }});
        Notification.requestPermission = async () => {{
            window.asked += 1;
            return (permission = 'denied');
        }};"""
    )
    await page.goto("/mitra/")
    row = page.get_by_role("button", name="HP ini")
    await expect(switch(page)).to_be_visible()
    await expect(row).to_have_count(0)
    await go_online(page)
    if permission == "denied":
        await expect(row).to_contain_text("Tanpa notifikasi: biarkan aplikasi ini terbuka")
        await row.click()
    else:
        await expect(row).to_contain_text("Izinkan notifikasi supaya permintaan tetap sampai")
        await row.click()
        assert await page.evaluate("window.asked") == 0
        await button(page, "Izinkan notifikasi").click()
    await expect(page.get_by_text("Notifikasi diblokir di HP ini.")).to_be_visible()
    assert await page.evaluate("window.asked") == (1 if permission == "default" else 0)
