"""A browser that receives pushes. This module replaces its vendor's servers and the person who presses a
notification.

A subscription needs the vendor's servers. Headless Chromium can neither show a notification nor let a person press
one.
"""

import asyncio
import json
from typing import Any

from playwright.async_api import BrowserContext, Page, Worker

from tests.browser.system import System, until
from tests.support.push import Browser, PushService

# A replacement for PushManager. Its subscriptions have the same form as real subscriptions.
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
# The person, or the browser itself, has blocked notifications.
BLOCKED = "Object.defineProperty(Notification, 'permission', { get: () => 'denied' })"
SHOWN = """(scope) => navigator.serviceWorker.getRegistration(scope).then(async (registration) =>
    (await registration.getNotifications()).map(({ title, body, tag }) => ({ title, body, tag })))"""
# Runs in the service worker. Resolves when the worker has handed the next notification to the browser.
SHOWS = """() => {
    globalThis.shows = new Promise((resolve) => {
        registration.showNotification = async (...what) => {
            delete registration.showNotification;
            await registration.showNotification(...what);
            resolve();
        };
    });
}"""
# Runs in the service worker. Dispatches the event that a press makes. Only a real press may open or focus a window,
# so this code replaces those two calls and records them.
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


async def push_to(device: BrowserContext, system: System, browser: Browser) -> None:
    """Give this device a push service, and let the person allow notifications."""
    await device.grant_permissions(["notifications"], origin=system.url)
    await device.add_init_script(f"({SUBSCRIBE})({json.dumps(browser.to_json())})")


async def installed(device: BrowserContext, path: str) -> Page:
    """Open the app, with its service worker."""
    page = await device.new_page()
    await page.goto(path)
    await page.evaluate("navigator.serviceWorker.ready")
    await until(lambda: page.evaluate("caches.keys().then((names) => names.length === 1)"))
    return page


async def received(vendor: PushService, browser: Browser, kind: str) -> dict[str, Any]:
    """Wait for this browser's message of this kind. Returns its payload."""
    while True:
        for one in vendor.for_browser(browser):
            payload = browser.read(one)
            if payload["type"] == kind:
                return payload
        vendor.arrived.clear()
        async with asyncio.timeout(30):
            await vendor.arrived.wait()


class PushDevice:
    """A page of this device that is not the app. Through it a test can act on the service worker while the app is
    closed.
    """

    def __init__(self, device: BrowserContext, system: System, scope: str) -> None:
        self._device = device
        self._services = system
        self._scope = scope
        self._page: Page | None = None

    async def page(self) -> Page:
        """Open the page if it is not open yet."""
        if self._page is None:
            self._page = await self._device.new_page()
            await self._page.goto("/healthz")
        return self._page

    async def deliver(self, payload: dict[str, Any]) -> None:
        """Deliver a payload as the browser does when a push arrives. Waits until the notification is shown."""
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
        # Do not poll for the shown notifications. With polling, one run in four failed: the service worker had shown
        # the notification, but it was gone at once. Without a query before the worker has finished, the notification
        # stays.
        async with asyncio.timeout(10):
            await worker.evaluate("globalThis.shows")
        expected = {"title": payload["title"], "body": payload["body"], "tag": payload["topic"]}
        assert expected in await self.shown()

    async def shown(self) -> list[dict[str, str]]:
        """The notifications that this app shows now."""
        shown: list[dict[str, str]] = await (await self.page()).evaluate(SHOWN, self._scope)
        return shown

    async def is_empty(self) -> bool:
        """Whether this app shows no notification."""
        return await self.shown() == []

    async def press(self, payload: dict[str, Any]) -> dict[str, str | None]:
        """Press this payload's notification. Returns the path that was `opened`, or the page that was `focused`."""
        pressed: dict[str, str | None] = await self._worker().evaluate(PRESS, payload["topic"])
        return pressed

    def _worker(self) -> Worker:
        address = f"{self._services.url}{self._scope}worker.js"
        [worker] = [one for one in self._device.service_workers if one.url == address]
        return worker
