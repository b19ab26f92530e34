"""The mitra's app on the device: its weight, installing it, opening it without a network, and what is pushed."""

import asyncio
import json
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.browser.house import House, done, until
from tests.browser.mitras import button, go_online, new_mitra, switch
from tests.browser.test_network import FIRST_LOAD_LIMIT_BYTES, size_of
from tests.support.push import Browser, push_service

# Subscribing for real needs the servers of the browser's vendor. What it gives is of this shape; all else is real.
SUBSCRIBE = """(subscription) => {
    let subscribed = null;
    PushManager.prototype.getSubscription = async () => subscribed;
    PushManager.prototype.subscribe = async function (options) {
        const text = options.applicationServerKey.replaceAll('-', '+').replaceAll('_', '/');
        const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
        subscribed = {
            options: { applicationServerKey: bytes.buffer },
            toJSON: () => subscription,
            unsubscribe: async () => true,
        };
        return subscribed;
    };
}"""


@pytest.mark.parametrize("who", ["nobody", "offline", "online"])
async def test_the_first_load_stays_below_40_kilobytes(house: House, who: str) -> None:
    mitra = await new_mitra(house)
    if who == "online":
        done(await mitra.put("/presence", {"online": True}))
    device = await house.context() if who == "nobody" else await house.device_of(mitra)
    page = await device.new_page()
    loaded: list[str] = []
    page.on("response", lambda answer: loaded.append(answer.url.removeprefix(house.url)))
    await page.goto("/mitra/", wait_until="networkidle")
    await expect(page.get_by_label("Nomor HP") if who == "nobody" else switch(page)).to_be_visible()
    bytes_of = {path: size_of(path) for path in loaded if path == "/mitra/" or path.endswith((".js", ".css"))}
    assert len(bytes_of) > 3
    assert sum(bytes_of.values()) < FIRST_LOAD_LIMIT_BYTES, (sum(bytes_of.values()), bytes_of)


async def installed(device: BrowserContext) -> Page:
    """The app, open, with its worker."""
    page = await device.new_page()
    await page.goto("/mitra/")
    await page.evaluate("navigator.serviceWorker.ready")
    await until(lambda: page.evaluate("caches.keys().then((names) => names.length === 1)"))
    return page


async def test_the_app_can_be_installed_and_opens_without_a_network(house: House) -> None:
    device = await house.device_of(await new_mitra(house), service_workers="allow")
    page = await installed(device)
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


async def deliver(device: BrowserContext, page: Page, payload: dict[str, Any]) -> None:
    """What the browser does when its vendor's servers have something for this app."""
    session = await device.new_cdp_session(page)
    registrations: asyncio.Queue[str] = asyncio.Queue()

    def note(event: dict[str, Any]) -> None:
        for one in event["registrations"]:
            registrations.put_nowait(one["registrationId"])

    session.on("ServiceWorker.workerRegistrationUpdated", note)
    await session.send("ServiceWorker.enable")
    async with asyncio.timeout(10):
        registration = await registrations.get()
    told = {"origin": page.url.partition("/mitra")[0], "registrationId": registration}
    await session.send("ServiceWorker.deliverPushMessage", {**told, "data": json.dumps(payload)})


SHOWN = """() => navigator.serviceWorker.ready.then(async (registration) =>
    (await registration.getNotifications()).map(({ title, body, tag }) => ({ title, body, tag })))"""


@pytest.mark.rule("4.1", "V.5")
async def test_notifications_are_allowed_tried_and_bring_a_request(house: House) -> None:
    mitra = await new_mitra(house)
    async with push_service() as vendor:
        browser: Browser = vendor.browser()
        device = await house.device_of(mitra, service_workers="allow")
        await device.grant_permissions(["notifications"], origin=house.url)
        await device.add_init_script(f"({SUBSCRIBE})({json.dumps(browser.to_json())})")
        page = await installed(device)
        await go_online(page)
        await page.get_by_role("button", name="Notifikasi diizinkan").click()
        await expect(page.get_by_text("Notifikasi menyala.")).to_be_visible()
        await button(page, "Kirim uji coba").click()
        await expect(page.get_by_text("Uji coba dikirim.")).to_be_visible()
        await until(lambda: asyncio.sleep(0, len(vendor.for_browser(browser)) == 1))
        payload = browser.read(vendor.for_browser(browser)[0])
        await deliver(device, page, payload)

        async def is_shown() -> bool:
            shown = await page.evaluate(SHOWN)
            expected = {"title": "Notifikasi berfungsi", "body": payload["body"], "tag": payload["topic"]}
            return bool(shown == [expected])

        await until(is_shown)

        # The app is closed; a request comes by push, and says nothing of who asks or why.
        await page.close()
        customer = await house.customer("Melati")
        await house.search(customer)
        await until(lambda: asyncio.sleep(0, len(vendor.for_browser(browser)) == 2), seconds=30)
        pushed = browser.read(vendor.for_browser(browser)[1])
        assert pushed["type"] == "request_offered"
        assert "Melati" not in json.dumps(pushed)
        again = await device.new_page()
        await again.goto("/mitra/")
        await deliver(device, again, pushed)
        await until(
            lambda: again.evaluate(
                f"({SHOWN})().then((all) => all.some((one) => one.tag === '{pushed['topic']}'))"
            )
        )
        await expect(button(again, "Terima Melati")).to_be_visible()


@pytest.mark.parametrize("permission", ["default", "denied"])
async def test_the_permission_is_asked_for_only_when_the_mitra_is_online_and_presses(
    house: House, permission: str
) -> None:
    page = await (await house.device_of(await new_mitra(house))).new_page()
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
        await expect(row).to_contain_text("Izinkan notifikasi supaya tetap terjangkau")
        await row.click()
        assert await page.evaluate("window.asked") == 0
        await button(page, "Izinkan notifikasi").click()
    await expect(page.get_by_text("Notifikasi diblokir di HP ini.")).to_be_visible()
    assert await page.evaluate("window.asked") == (1 if permission == "default" else 0)
