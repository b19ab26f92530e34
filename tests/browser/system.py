"""A real server, a real worker, and the browsers and people of a test."""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import httpx
from playwright.async_api import BrowserContext, ConsoleMessage, Page, expect

from curhat.kit.database import Database
from curhat.kit.identity import Role
from tests.support.chromium import Browsers
from tests.support.journey import request_of
from tests.support.people import Make
from tests.support.server import Person, Socket
from tests.support.signed_in import SIGN_IN

Theme = Literal["light", "dark"]
Language = Literal["id", "en"]

# The screen of a cheap Android phone.
PHONE = {"width": 360, "height": 740}
# The time limit of one step in a test, long enough for a busy machine.
STEP_TIMEOUT_MS = 10_000
# The browser writes these lines to its console when an HTTP request is refused or interrupted. Tests refuse and
# interrupt HTTP requests on purpose.
EXPECTED = ("Failed to load resource", "WebSocket connection to")

expect.set_options(timeout=STEP_TIMEOUT_MS)


# Increase the timestamp of each event by a second, so that no press seems to come too soon.
SLOW_EVENTS = """(() => {
    const times = new WeakMap();
    let later = 0;
    Object.defineProperty(UIEvent.prototype, 'timeStamp', {
        configurable: true,
        get() {
            if (!times.has(this)) times.set(this, Reflect.get(Event.prototype, 'timeStamp', this) + (later += 1000));
            return times.get(this);
        },
    });
})()"""

# A headless browser has no screen to keep on, so this stub replaces the wake lock.
WAKE_LOCK = """Object.defineProperty(navigator, 'wakeLock', {
    configurable: true,
    value: { request: async () => ({ release: async () => undefined }) },
})"""


async def take_time(device: BrowserContext) -> None:
    """Let a test press a button immediately after the button appears.

    The app ignores a press that comes before a person can read the screen (web/shared/ui/pressGuard.ts).
    """
    await device.add_init_script(SLOW_EVENTS)


class System:
    """A database with its server and worker, and the people of one test."""

    def __init__(self, url: str, http: httpx.AsyncClient, database: Database, browsers: Browsers) -> None:
        self.url = url
        self.http = http
        self.database = database
        self.make = Make(database)
        self.browsers = browsers
        self.problems: list[str] = []
        self._contexts: list[BrowserContext] = []
        self._customers: list[Person] = []

    async def close(self) -> None:
        """Close the test's pages, end the customers' journeys, and switch all mitras offline."""
        await asyncio.gather(*(context.close() for context in self._contexts))
        self._contexts.clear()
        await self.database.execute("DELETE FROM virtual_clock")
        # End all searches. An open search would send requests to the mitras of the next test.
        await asyncio.gather(*(end_journey(customer) for customer in self._customers))
        self._customers.clear()
        await self.database.execute("UPDATE mitras SET online = false")

    # People

    async def _token(self, role: Role, user_id: UUID, transport: str) -> str:
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).digest()
        await self.database.execute(SIGN_IN, digest, role, user_id, transport, 3600.0)
        return token

    async def person(self, role: Role, user_id: UUID) -> Person:
        """Sign this person in. The returned Person acts through the API."""
        return Person(self.http, role, user_id, await self._token(role, user_id, "bearer"))

    async def customer(self, call_name: str = "Melati") -> Person:
        """Create a customer."""
        customer = await self.person("customer", await self.make.customer(call_name))
        self._customers.append(customer)
        return customer

    @contextlib.asynccontextmanager
    async def mitra(
        self, display_name: str = "Kak Sari", *, max_customers: int = 3
    ) -> AsyncIterator[tuple[Person, Socket]]:
        """Create a mitra. Keep the mitra online and connected until the end of the block."""
        mitra_id = await self.make.mitra(display_name, online=False, max_customers=max_customers)
        mitra = await self.person("mitra", mitra_id)
        async with mitra.socket() as socket:
            assert (await mitra.put("/presence", {"online": True})).is_success
            yield mitra, socket
            await mitra.put("/presence", {"online": False})

    # Pages

    async def context(
        self,
        *,
        theme: Theme = "light",
        language: Language = "id",
        size: dict[str, int] | None = None,
        cookies: list[Any] | None = None,
        kept: dict[str, str] | None = None,
        service_workers: Literal["allow", "block"] = "block",
        is_phone: bool = True,
        prepare: Callable[[BrowserContext], Awaitable[object]] = take_time,
        **more: Any,
    ) -> BrowserContext:
        """Open a separate browser profile.

        The profile represents a device. Call `prepare` with the profile before the first page opens.
        """
        remembered = {"curhat:language": language, **(kept or {})}
        # Only a service worker shows notifications.
        browser = await self.browsers.get(notifications=service_workers == "allow")
        context = await browser.new_context(
            base_url=self.url,
            viewport=size or PHONE,  # type: ignore[arg-type]
            device_scale_factor=2 if is_phone else 1,
            is_mobile=is_phone,
            has_touch=is_phone,
            locale="id-ID",
            timezone_id="Asia/Jakarta",
            color_scheme=theme,
            reduced_motion="reduce",
            service_workers=service_workers,
            storage_state={
                "cookies": cookies or [],
                "origins": [
                    {
                        "origin": self.url,
                        "localStorage": [
                            {"name": name, "value": value} for name, value in remembered.items()
                        ],
                    }
                ],
            },
            **more,
        )
        await context.add_init_script(WAKE_LOCK)
        await prepare(context)
        context.set_default_timeout(STEP_TIMEOUT_MS)
        context.on("console", self._note)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        self._contexts.append(context)
        return context

    async def device_of(self, person: Person, **options: Any) -> BrowserContext:
        """Open a device on which this customer or mitra is signed in."""
        role: Role = "mitra" if person.role == "mitra" else "customer"
        cookie = {
            "name": f"curhat_{role}",
            "value": await self._token(role, person.id, "cookie"),
            "domain": "127.0.0.1",
            "path": "/api/mitra" if role == "mitra" else "/api/client",
            "expires": -1,
            "httpOnly": True,
            "secure": False,
            "sameSite": "Strict",
        }
        kept = {f"curhat:{role}": "signed in"}
        return await self.context(cookies=[cookie], kept=kept, **options)

    async def page_of(self, person: Person, path: str = "/app/", **options: Any) -> Page:
        """Open this person's app on a new device. The path of the mitra's app starts with /mitra/."""
        page = await (await self.device_of(person, **options)).new_page()
        await page.goto(path)
        return page

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(EXPECTED):
            self.problems.append(message.text)

    # The following methods bring a test to its starting point through the API.

    async def offers(self) -> None:
        """Create the product's offers."""
        for minutes, price_rp in ((15, 10_000), (30, 20_000), (60, 35_000), (5, 0)):
            await self.make.offer(duration_minutes=minutes, price_rp=price_rp)
        for minutes, price_rp in ((15, 10_000), (30, 18_000)):
            await self.make.offer(duration_minutes=minutes, price_rp=price_rp, purpose="extension")

    async def open_payment(self, customer: Person, *, price_rp: int = 20_000) -> dict[str, Any]:
        """Open a payment, but do not confirm it. A mitra must be available."""
        minutes = {0: 5, 10_000: 15, 20_000: 30, 35_000: 60, 60_000: 90}[price_rp]
        offer_id = await self.make.offer(duration_minutes=minutes, price_rp=price_rp)
        payment: dict[str, Any] = json_of(await customer.post("/payments", {"offer_id": str(offer_id)}))
        return payment

    async def search(self, customer: Person, *, price_rp: int = 20_000) -> dict[str, Any]:
        """Start a search, and return the open pairing of the search. A mitra must be available."""
        payment = await self.open_payment(customer, price_rp=price_rp)
        pairing: dict[str, Any] = json_of(await customer.post(f"/payments/{payment['id']}/confirm"))[
            "pairing"
        ]
        return pairing

    async def chat(self, customer: Person, mitra: Person, socket: Socket) -> dict[str, Any]:
        """Start a session between this customer and this mitra."""
        pairing = await self.search(customer)
        card_id = await request_of(self.database, UUID(pairing["id"]), mitra.id)
        card = await socket.wait_for("request.offered", id=str(card_id))
        session: dict[str, Any] = json_of(await mitra.post(f"/requests/{card['id']}/accept"))["session"]
        return session

    async def past_chat(self, customer: Person, mitra: Person, socket: Socket) -> dict[str, Any]:
        """Start and end a session between this customer and this mitra."""
        session = await self.chat(customer, mitra, socket)
        ended: dict[str, Any] = json_of(await customer.post(f"/sessions/{session['id']}/end"))
        return ended

    async def ask_again(self, customer: Person, mitra: Person, socket: Socket) -> dict[str, Any]:
        """Make a past chat of these two people, and ask for the same mitra again. Returns the open pairing."""
        await self.past_chat(customer, mitra, socket)
        offer_id = await self.make.offer(duration_minutes=30, price_rp=20_000)
        order = {"offer_id": str(offer_id), "target_mitra_id": str(mitra.id)}
        payment = json_of(await customer.post("/payments", order))
        pairing: dict[str, Any] = json_of(await customer.post(f"/payments/{payment['id']}/confirm"))[
            "pairing"
        ]
        return pairing

    async def reject_again(self, customer: Person, mitra: Person, socket: Socket) -> dict[str, Any]:
        """Call `ask_again`, and then reject the request as the mitra.

        The customer can then choose another mitra.
        """
        pairing = await self.ask_again(customer, mitra, socket)
        card = await socket.wait_for("request.offered", kind="targeted")
        json_of(await mitra.post(f"/requests/{card['id']}/reject"))
        return pairing

    async def advance_clock(self, seconds: float) -> None:
        """Move the database's clock forward by `seconds`, and stop the clock at the new time."""
        async with self.database.transaction() as tx:
            now = await tx.connection.fetchval("SELECT curhat_now()")
            await tx.execute("DELETE FROM virtual_clock")
            await tx.execute("INSERT INTO virtual_clock VALUES ($1)", now + timedelta(seconds=seconds))


async def end_journey(customer: Person) -> None:
    """End this customer's journey. Repeat the commands, because the journey can change before the commands arrive.

    Does nothing if the customer is signed out.
    """
    while True:
        answer = await customer.get("/state")
        if answer.status_code == 401:
            return
        state = json_of(answer)
        payment, pairing, session = state["payment"], state["pairing"], state["session"]
        if session is not None:
            path = f"/sessions/{session['id']}/end"
        elif payment is None or payment["status"] == "unserved":
            return
        elif payment["status"] == "pending":
            path = f"/payments/{payment['id']}/cancel"
        elif payment["status"] == "confirming":
            await asyncio.sleep(0.05)
            continue
        elif pairing["status"] == "open":
            path = f"/pairings/{pairing['id']}/cancel"
        else:
            path = f"/pairings/{pairing['id']}/decline-fallback"
        answer = await customer.post(path)
        assert answer.is_success or answer.status_code == 409, answer.text


def json_of(answer: httpx.Response) -> Any:
    """Assert that the response reports a success. Returns the JSON of the response, or None if the body is empty."""
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def wait_until(
    condition: Callable[[], Awaitable[bool]], seconds: float = STEP_TIMEOUT_MS / 1000
) -> None:
    """Wait until the condition is true. Raise TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)
