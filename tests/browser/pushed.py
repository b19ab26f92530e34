"""A device that gets push messages: stand-ins for the vendor's servers and for a press on a notification.

A subscription needs the vendor's servers. Chromium without a window can neither show a notification nor be
pressed on one. Everything between is real: what is subscribed and stored, encrypted and sent, and what the
service worker does with it.
"""

import asyncio
import json
from typing import Any

from playwright.async_api import BrowserContext, Page, Worker

from tests.browser.system import System, wait_until
from tests.support.push import Browser, PushService

# The result of a subscription has this shape.
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
# The person or the browser allows no notifications.
BLOCKED = "Object.defineProperty(Notification, 'permission', { get: () => 'denied' })"
SHOWN = """(scope) => navigator.serviceWorker.getRegistration(scope).then(async (registration) =>
    (await registration.getNotifications()).map(({ title, body, tag }) => ({ title, body, tag })))"""
# In the service worker: resolves when the next notification has been given to the browser.
SHOWS = """() => {
    globalThis.shows = new Promise((resolve) => {
        registration.showNotification = async (...what) => {
            delete registration.showNotification;
            await registration.showNotification(...what);
            resolve();
        };
    });
}"""
# In the service worker: the event of a press. Only a real press may open or focus a window, so this notes which one.
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
    """Give this device a push service and the permission for notifications."""
    await device.grant_permissions(["notifications"], origin=system.url)
    await device.add_init_script(f"({SUBSCRIBE})({json.dumps(browser.to_json())})")


async def open_installed_app(device: BrowserContext, path: str) -> Page:
    """Open the app, and wait until its service worker has cached it."""
    page = await device.new_page()
    await page.goto(path)
    await page.evaluate("navigator.serviceWorker.ready")
    await wait_until(lambda: page.evaluate("caches.keys().then((names) => names.length === 1)"))
    return page


async def wait_for_payload(vendor: PushService, browser: Browser, kind: str) -> dict[str, Any]:
    """Wait for the payload of this kind for this browser."""
    while True:
        for one in vendor.for_browser(browser):
            payload = browser.read(one)
            if payload["type"] == kind:
                return payload
        vendor.arrived.clear()
        async with asyncio.timeout(30):
            await vendor.arrived.wait()


class PushDevice:
    """A page of this device that is not the app, so that the app may be closed meanwhile."""

    def __init__(self, device: BrowserContext, system: System, scope: str) -> None:
        self._device = device
        self._services = system
        self._scope = scope
        self._page: Page | None = None

    async def page(self) -> Page:
        """Open the page, once."""
        if self._page is None:
            self._page = await self._device.new_page()
            await self._page.goto("/healthz")
        return self._page

    async def deliver(self, payload: dict[str, Any]) -> None:
        """Deliver a payload as the browser does when the vendor's servers have one. Wait until it is shown."""
        page = await self.page()
        session = await self._device.new_cdp_session(page)
        registrations: asyncio.Queue[str] = asyncio.Queue()

        def note(event: dict[str, Any]) -> None:
            for one in event["registrations"]:
                if one["scopeURL"] == self._services.url + self._scope:
                    registrations.put_nowait(one["registrationId"])

        session.on("ServiceWorker.workerRegistrationUpdated", note)
        await session.send("ServiceWorker.enable")
        async with asyncio.timeout(10):
            registration = await registrations.get()
        told = {"origin": self._services.url, "registrationId": registration, "data": json.dumps(payload)}
        worker = self._worker()
        await worker.evaluate(SHOWS)
        await session.send("ServiceWorker.deliverPushMessage", told)
        # When this code polled for the shown notifications, one run in four failed: the service worker had shown the
        # notification, but it was gone at once. Since no code asks before the service worker is done, it stays.
        async with asyncio.timeout(10):
            await worker.evaluate("globalThis.shows")
        expected = {"title": payload["title"], "body": payload["body"], "tag": payload["topic"]}
        assert expected in await self.shown()

    async def shown(self) -> list[dict[str, str]]:
        """List the app's notifications."""
        shown: list[dict[str, str]] = await (await self.page()).evaluate(SHOWN, self._scope)
        return shown

    async def is_empty(self) -> bool:
        """Say whether the app has no notification."""
        return await self.shown() == []

    async def press(self, payload: dict[str, Any]) -> dict[str, str | None]:
        """Press the notification of this payload. Return which address was `opened`, or which open page was
        `focused`.
        """
        pressed: dict[str, str | None] = await self._worker().evaluate(PRESS, payload["topic"])
        return pressed

    def _worker(self) -> Worker:
        address = f"{self._services.url}{self._scope}worker.js"
        [worker] = [one for one in self._device.service_workers if one.url == address]
        return worker
