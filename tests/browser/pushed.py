"""A device that gets push messages. The device simulates the vendor's servers and the press on a notification.

A real subscription needs the vendor's servers. In headless Chromium, a test can neither see nor press a notification.
The storage of the subscription, the encryption, the sending and the service worker are real.
"""

import asyncio
import json
from typing import Any

from playwright.async_api import BrowserContext, Page, Worker

from tests.browser.system import System, wait_until
from tests.support.push import Browser, PushService

# Replace the browser's subscription with an object of the same shape.
SUBSCRIBE = """(subscription) => {
    let subscribed = null;
    PushManager.prototype.getSubscription = async () => subscribed;
    PushManager.prototype.subscribe = async function (options) {
        const text = options.applicationServerKey.replaceAll('-', '+').replaceAll('_', '/');
        const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
        subscribed = {
            endpoint: subscription.endpoint,
            options: { applicationServerKey: bytes.buffer },
            toJSON: () => subscription,
            unsubscribe: async () => {
                subscribed = null;
                return true;
            },
        };
        return subscribed;
    };
}"""
# Make the browser report that notifications are blocked.
BLOCKED = "Object.defineProperty(Notification, 'permission', { get: () => 'denied' })"
SHOWN = """(scope) => navigator.serviceWorker.getRegistration(scope).then(async (registration) =>
    (await registration.getNotifications()).map(({ title, body, tag }) => ({ title, body, tag })))"""
# This script runs in the service worker. `shows` resolves when the browser has accepted the next notification.
SHOWS = """() => {
    globalThis.shows = new Promise((resolve) => {
        registration.showNotification = async (...what) => {
            delete registration.showNotification;
            await registration.showNotification(...what);
            resolve();
        };
    });
}"""
# This script runs in the service worker and simulates a press on the notification. A browser opens or focuses a window
# only after a real press, so this code records the window instead.
PRESS = """async (tag) => {
    const [notification] = await registration.getNotifications({ tag });
    const pressed = { opened: null, focused: null };
    clients.openWindow = async (path) => {
        pressed.opened = path;
    };
    WindowClient.prototype.focus = async function () {
        pressed.focused = new URL(this.url).pathname;
    };
    const event = new NotificationEvent('notificationclick', { notification });
    let work;
    event.waitUntil = (promise) => (work = promise);
    dispatchEvent(event);
    await work;
    return pressed;
}"""


async def give_push_service(device: BrowserContext, system: System, browser: Browser) -> None:
    """Give this device a simulated push subscription and the permission for notifications."""
    await device.grant_permissions(["notifications"], origin=system.url)
    await device.add_init_script(f"({SUBSCRIBE})({json.dumps(browser.to_json())})")


async def open_installed_app(device: BrowserContext, path: str) -> Page:
    """Open the app, and wait until its service worker has cached the app."""
    page = await device.new_page()
    await page.goto(path)
    await page.evaluate("navigator.serviceWorker.ready")
    await wait_until(lambda: page.evaluate("caches.keys().then((names) => names.length === 1)"))
    return page


async def wait_for_payload(vendor: PushService, browser: Browser, kind: str) -> dict[str, Any]:
    """Wait until the vendor has a payload of this kind for this browser. Returns the payload."""
    while True:
        for one in vendor.for_browser(browser):
            payload = browser.read(one)
            if payload["type"] == kind:
                return payload
        vendor.arrived.clear()
        async with asyncio.timeout(30):
            await vendor.arrived.wait()


class PushDevice:
    """A device that has a page outside the app. The page stays open while the app is closed."""

    def __init__(self, device: BrowserContext, system: System, scope: str) -> None:
        self._device = device
        self._services = system
        self._scope = scope
        self._page: Page | None = None

    async def page(self) -> Page:
        """Return the page outside the app. The first call of this method opens the page."""
        if self._page is None:
            self._page = await self._device.new_page()
            await self._page.goto("/healthz")
        return self._page

    async def deliver(self, payload: dict[str, Any]) -> None:
        """Deliver a payload in place of the vendor's servers.

        Wait until the browser shows the notification of the payload.
        """
        page = await self.page()
        session = await self._device.new_cdp_session(page)
        registrations: asyncio.Queue[str] = asyncio.Queue()

        def record(event: dict[str, Any]) -> None:
            for updated in event["registrations"]:
                if updated["scopeURL"] == self._services.url + self._scope:
                    registrations.put_nowait(updated["registrationId"])

        session.on("ServiceWorker.workerRegistrationUpdated", record)
        await session.send("ServiceWorker.enable")
        async with asyncio.timeout(10):
            registration = await registrations.get()
        message = {"origin": self._services.url, "registrationId": registration, "data": json.dumps(payload)}
        worker = self._worker()
        await worker.evaluate(SHOWS)
        await session.send("ServiceWorker.deliverPushMessage", message)
        # Wait for the service worker before the first poll. Without this wait, the poll sometimes made Chromium remove
        # the notification, so one of four test runs failed.
        async with asyncio.timeout(10):
            await worker.evaluate("globalThis.shows")
        expected = {"title": payload["title"], "body": payload["body"], "tag": payload["topic"]}
        assert expected in await self.shown()

    async def shown(self) -> list[dict[str, str]]:
        """List the notifications that the app shows."""
        shown: list[dict[str, str]] = await (await self.page()).evaluate(SHOWN, self._scope)
        return shown

    async def is_empty(self) -> bool:
        """Return whether the app shows no notification."""
        return await self.shown() == []

    async def press(self, payload: dict[str, Any]) -> dict[str, str | None]:
        """Press the notification that belongs to this payload.

        Return the path of the opened window as `opened`, and the first path of the focused window as `focused`. Either
        `opened` or `focused` is None.
        """
        pressed: dict[str, str | None] = await self._worker().evaluate(PRESS, payload["topic"])
        return pressed

    def _worker(self) -> Worker:
        address = f"{self._services.url}{self._scope}worker.js"
        [worker] = [one for one in self._device.service_workers if one.url == address]
        return worker
