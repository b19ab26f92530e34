"""The screens of the customer's app for checks and screenshots.

Each screen is a context manager that makes the state of the screen, and yields a function that opens a page in this
state. The function can be called several times.
"""

import asyncio
import contextlib
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

from playwright.async_api import Page, expect

from tests.browser.operators import operator
from tests.browser.pushed import BLOCKED, give_push_service
from tests.browser.system import System, json_of, wait_until
from tests.support.push import PushService, push_service
from tests.support.server import Person, Socket
from tests.support.signed_in import SIGN_IN_OPERATOR
from tests.support.texts import published_drafts

Show = Callable[..., Awaitable[Page]]
Made = Callable[[System], AsyncIterator[Show]]
Screen = Callable[[System], contextlib.AbstractAsyncContextManager[Show]]

SCREENS: dict[str, Screen] = {}

CONVERSATION = [
    ("mitra", "Hai Melati, aku Sari. Aku di sini buat dengerin. Mau mulai dari mana?"),
    ("customer", "Halo Kak"),
    ("customer", "Aku lagi capek banget sama kerjaan, tiap hari lembur dan rasanya nggak ada habisnya."),
    ("mitra", "Kedengarannya berat sekali, ya. Sudah berapa lama begini?"),
    ("customer", "Hampir tiga bulan. Di rumah juga jadi gampang marah, padahal nggak mau."),
    ("mitra", "Makasih sudah cerita. Wajar kok kalau badan dan hatimu protes. Apa yang paling bikin berat?"),
    ("customer", "Takut mengecewakan orang-orang."),
]


def screen_registry(screens: dict[str, Screen]) -> Callable[[str], Callable[[Made], Screen]]:
    """Return a decorator that adds a screen to `screens` under a name."""

    def screen(name: str) -> Callable[[Made], Screen]:
        def add(make: Made) -> Screen:
            made: Screen = contextlib.asynccontextmanager(make)
            screens[name] = made
            return made

        return add

    return screen


screen = screen_registry(SCREENS)


def page_opener(system: System, person: Person, path: str, shows: str) -> Show:
    """Return a function that opens this person's app at a path and waits for the selector `shows`."""

    async def show(**options: Any) -> Page:
        page = await system.page_of(person, path, **options)
        await expect(page.locator(shows).first).to_be_visible()
        return page

    return show


# Signing in --------------------------------------------------------------------------------------------------


async def welcome(system: System, **options: Any) -> Page:
    """Open the sign-in page on a new device without a token."""
    page = await (await system.context(**options)).new_page()
    await page.goto("/app/")
    await expect(page.locator("input[type=tel]")).to_be_visible()
    await expect(page.locator(".demo")).to_be_visible()
    return page


async def open_code_page(system: System, phone: str, **options: Any) -> Page:
    """Request a code for this phone number, and wait for the page that asks for the code."""
    page = await welcome(system, **options)
    await page.locator("input[type=tel]").fill(phone)
    await page.locator("button[type=submit]").click()
    await expect(page.locator(".demo p")).to_be_visible()
    return page


_phones = iter(range(10_000, 99_999))


@screen("01-sign-in")
async def sign_in(system: System) -> AsyncIterator[Show]:
    async def show(**options: Any) -> Page:
        return await welcome(system, **options)

    yield show


@screen("02-sign-in-wrong-number")
async def wrong_number(system: System) -> AsyncIterator[Show]:
    async def show(**options: Any) -> Page:
        page = await welcome(system, **options)
        await page.locator("input[type=tel]").fill("0812")
        await page.locator("button[type=submit]").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        return page

    yield show


@screen("03-code")
async def code(system: System) -> AsyncIterator[Show]:
    async def show(**options: Any) -> Page:
        return await open_code_page(system, f"0812 000 {next(_phones)}", **options)

    yield show


@screen("04-call-name")
async def call_name(system: System) -> AsyncIterator[Show]:
    async def show(**options: Any) -> Page:
        page = await open_code_page(system, f"0812 000 {next(_phones)}", **options)
        await page.locator(".demo button").click()
        await expect(page.locator("input[autocomplete=nickname]")).to_be_visible()
        return page

    yield show


# Home --------------------------------------------------------------------------------------------------------


@screen("10-home")
async def home(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        yield page_opener(system, await system.customer(), "/app/", ".cta:enabled")


@screen("11-home-nobody-there")
async def home_nobody(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/", ".cta:disabled")(**options)
        # The button is disabled and has another text until the server answers the first poll.
        await expect(page.locator("#cta-why")).to_have_text(re.compile("Belum ada bestie|No bestie"))
        return page

    yield show


@screen("12-home-offline")
async def home_offline(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/", ".cta")(**options)
        await page.context.set_offline(True)
        await expect(page.locator(".offline")).to_be_visible()
        return page

    yield show


@screen("13-home-payment-waits")
async def home_pending(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        customer = await system.customer()
        await system.open_payment(customer)
        yield page_opener(system, customer, "/app/", ".journey")


@screen("14-home-chat-runs")
async def home_chat(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.chat(customer, mitra, socket)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/", ".list")(**options)
            await page.locator("header button").first.click()
            await expect(page.locator(".journey")).to_be_visible()
            return page

        yield show


@screen("15-home-after-a-failure")
async def home_failed(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        customer = await system.customer()
        pairing = await system.search(customer)
        json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/failed", ".actions button")(**options)
            await page.locator(".actions button").first.click()
            await expect(page.get_by_text(re.compile("sedang kami periksa|We are reviewing"))).to_be_visible()
            return page

        yield show


@screen("16-unreachable")
async def unreachable(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await (await system.device_of(customer, **options)).new_page()
        await page.route("**/api/**", lambda route: route.abort("connectionrefused"))
        await page.goto("/app/")
        await expect(page.locator("h1")).to_be_visible()
        return page

    yield show


@screen("17-screen-did-not-come")
async def screen_missing(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await (await system.device_of(customer, **options)).new_page()
        await page.route("**/assets/History-*", lambda route: route.abort())
        await page.goto("/app/history")
        await expect(page.get_by_role("alert")).to_be_visible()
        return page

    yield show


# Payment -----------------------------------------------------------------------------------------------------


@screen("20-payment-choose")
async def choose(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        yield page_opener(system, await system.customer(), "/app/payment", "label.chosen")


@screen("21-payment")
async def payment(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        customer = await system.customer()
        await system.open_payment(customer)
        yield page_opener(system, customer, "/app/payment", ".summary")


@screen("22-payment-free")
async def payment_free(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        customer = await system.customer()
        await system.open_payment(customer, price_rp=0)
        yield page_opener(system, customer, "/app/payment", ".summary")


@screen("23-payment-declined")
async def payment_declined(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        customer = await system.customer()
        opened_payment = await system.open_payment(customer)
        behaviour = {"behaviour": "decline", "payment_id": opened_payment["id"]}
        json_of(await system.http.put("/api/dev/gateway", json=behaviour))

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/payment", ".summary")(**options)
            await page.locator(".actions button").first.click()
            await expect(page.get_by_role("alert")).to_be_visible()
            return page

        yield show


@screen("24-payment-confirming")
async def payment_confirming(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        customer = await system.customer()
        opened_payment = await system.open_payment(customer)
        behaviour = {"behaviour": "lost", "payment_id": opened_payment["id"]}
        json_of(await system.http.put("/api/dev/gateway", json=behaviour))
        confirming = asyncio.create_task(customer.post(f"/payments/{opened_payment['id']}/confirm"))

        async def is_confirming() -> bool:
            path = f"/payments/{opened_payment['id']}"
            return bool(json_of(await customer.get(path))["status"] == "confirming")

        await wait_until(is_confirming)
        # Stop the clock, so that the server does not ask the gateway. So the screen stays open during the checks.
        await system.advance_clock(0)
        yield page_opener(system, customer, "/app/payment", ".middle")
        await system.database.execute("DELETE FROM virtual_clock")
        await confirming


@screen("25-payment-expired")
async def payment_expired(system: System) -> AsyncIterator[Show]:
    async with system.mitra():

        async def show(**options: Any) -> Page:
            await system.database.execute("DELETE FROM virtual_clock")
            customer = await system.customer()
            await system.open_payment(customer)
            page = await page_opener(system, customer, "/app/payment", ".summary")(**options)
            await system.advance_clock(20 * 60)
            await expect(page.locator(".middle")).to_be_visible()
            return page

        yield show


# Searching ---------------------------------------------------------------------------------------------------


@screen("30-search")
async def search(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        customer = await system.customer()
        await system.search(customer)
        yield page_opener(system, customer, "/app/search", ".waiting")


@screen("31-search-stop")
async def search_stop(system: System) -> AsyncIterator[Show]:
    async with system.mitra():
        customer = await system.customer()
        await system.search(customer)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/search", ".waiting")(**options)
            await page.locator(".actions > button:not(.help)").click()
            await expect(page.get_by_role("dialog")).to_be_visible()
            return page

        yield show


def page_opener_with_push(system: System, person: Person, vendor: PushService, path: str, shows: str) -> Show:
    """Return a `page_opener` that uses a device with a simulated push subscription."""

    async def show(**options: Any) -> Page:
        device = await system.device_of(person, service_workers="allow", **options)
        await give_push_service(device, system, vendor.browser())
        page = await device.new_page()
        await page.goto(path)
        await expect(page.locator(shows)).to_be_visible()
        return page

    return show


@screen("35-search-and-be-told")
async def search_with_notifications(system: System) -> AsyncIterator[Show]:
    async with system.mitra(), push_service() as vendor:
        customer = await system.customer()
        await system.search(customer)
        yield page_opener_with_push(system, customer, vendor, "/app/search", ".told")


@screen("32-waiting-for-bestie")
async def waiting(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.ask_again(customer, mitra, socket)
        yield page_opener(system, customer, "/app/search", ".waiting")


@screen("33-choosing-another")
async def choosing(system: System) -> AsyncIterator[Show]:
    async with system.mitra("Kak Budi"), system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.reject_again(customer, mitra, socket)
        yield page_opener(system, customer, "/app/search", "dialog .primary")


@screen("34-choosing-nobody-else")
async def choosing_nobody(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.reject_again(customer, mitra, socket)
        await mitra.put("/presence", {"online": False})
        yield page_opener(system, customer, "/app/search", "dialog [role=status]")


# Failures ----------------------------------------------------------------------------------------------------


# The screen's title for each failure tag, in Indonesian and English.
TITLES = {
    "no_mitra_available": ("Belum ada bestie yang bisa menemani", "No bestie could make it"),
    "all_mitras_rejected": ("Semua bestie sedang tidak bisa", "Every bestie is busy right now"),
    "targeted_mitra_offline": ("Bestie sedang tidak online", "Your bestie is not online"),
    "targeted_mitra_rejected": (
        "Bestie pilihanmu belum bisa menemani",
        "Your bestie cannot make it right now",
    ),
    "targeted_mitra_timeout": (
        "Bestie pilihanmu tidak sempat menjawab",
        "Your bestie did not answer in time",
    ),
    "payment_session_expired": ("Waktu untuk memilih sudah habis", "The time to choose is over"),
    "customer_cancelled": ("Pencarian dibatalkan", "The search was cancelled"),
}


def heading_selector(tag: str) -> str:
    """Return a selector that finds the failure screen's heading in both languages."""
    return ", ".join(f'h1:text-is("{title}")' for title in TITLES[tag])


def failure(number: int, tag: str, *, price_rp: int = 20_000) -> None:
    """Add the screen of a blast pairing that failed with this tag."""
    name = f"{number}-failure-{tag.replace('_', '-')}{'' if price_rp else '-free'}"

    @screen(name)
    async def failed(system: System) -> AsyncIterator[Show]:
        async with system.mitra() as (mitra, socket):
            customer = await system.customer()
            pairing = await system.search(customer, price_rp=price_rp)
            if tag == "customer_cancelled":
                json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
            elif tag == "all_mitras_rejected":
                card = await socket.wait_for("request.offered")
                json_of(await mitra.post(f"/requests/{card['id']}/reject"))
            else:
                await system.advance_clock(61)

            async def is_over() -> bool:
                state = json_of(await customer.get("/state"))
                return bool(state["payment"]["status"] == "unserved")

            await wait_until(is_over)
            yield page_opener(system, customer, "/app/failed", heading_selector(tag))


failure(40, "no_mitra_available")
failure(41, "all_mitras_rejected")
failure(42, "customer_cancelled")
failure(43, "no_mitra_available", price_rp=0)


def targeted_failure(number: int, tag: str) -> None:
    """Add the screen of a targeted pairing that failed with this tag.

    The customer asked for the mitra of a past chat.
    """

    @screen(f"{number}-failure-{tag.replace('_', '-')}")
    async def failed(system: System) -> AsyncIterator[Show]:
        async with system.mitra() as (mitra, socket):
            customer = await system.customer()
            if tag in ("targeted_mitra_rejected", "payment_session_expired"):
                pairing = await system.reject_again(customer, mitra, socket)
            else:
                pairing = await system.ask_again(customer, mitra, socket)
            if tag == "targeted_mitra_timeout":
                await system.advance_clock(21)
            elif tag == "targeted_mitra_offline":
                await mitra.put("/presence", {"online": False})

            async def has_failed() -> bool:
                state = json_of(await customer.get("/state"))
                return bool(state["pairing"]["status"] == "failed")

            async def is_over() -> bool:
                state = json_of(await customer.get("/state"))
                return bool(state["payment"]["status"] == "unserved")

            await wait_until(has_failed)
            if tag == "payment_session_expired":
                await system.advance_clock(20 * 60 + 1)
            else:
                json_of(await customer.post(f"/pairings/{pairing['id']}/decline-fallback"))
            await wait_until(is_over)
            yield page_opener(system, customer, "/app/failed", heading_selector(tag))


async def refund(system: System, payment_id: UUID) -> None:
    """As an operator, decide to refund this payment."""
    operator_id, _ = await operator(system)
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).digest()
    await system.database.execute(SIGN_IN_OPERATOR, digest, operator_id, "bearer", 3600.0)
    case_id = await system.database.fetchval("SELECT id FROM review_cases WHERE payment_id = $1", payment_id)
    answer = await system.http.post(
        f"/api/control-center/review-cases/{case_id}/decision",
        json={"decision": "refund", "note": "Maaf"},
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex()},
    )
    json_of(answer)


@screen("48-failure-refunded")
async def failure_refunded(system: System) -> AsyncIterator[Show]:
    async with system.mitra():

        async def show(**options: Any) -> Page:
            customer = await system.customer()
            pairing = await system.search(customer)
            json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
            page = await page_opener(system, customer, "/app/failed", "section")(**options)
            await refund(system, UUID(pairing["payment_id"]))
            await expect(page.get_by_text(re.compile("sudah kami kembalikan|We gave"))).to_be_visible()
            return page

        yield show


targeted_failure(44, "targeted_mitra_offline")
targeted_failure(45, "targeted_mitra_rejected")
targeted_failure(46, "targeted_mitra_timeout")
targeted_failure(47, "payment_session_expired")


# Chat --------------------------------------------------------------------------------------------------------


async def talk(system: System, customer: Person, mitra: Person, session_id: str) -> None:
    """Write a conversation into a chat. Both members have read all messages except the last message."""
    last_id = ""
    for number, (sender, text) in enumerate(CONVERSATION):
        writer = mitra if sender == "mitra" else customer
        said = {"client_message_id": str(number), "text": text}
        last = json_of(await writer.post(f"/sessions/{session_id}/messages", said, key=""))
        if number == len(CONVERSATION) - 2:
            last_id = last["id"]
    for reader in (mitra, customer):
        json_of(await reader.post(f"/sessions/{session_id}/read", {"up_to_message_id": last_id}, key=""))


@screen("50-chat-begins")
async def chat_begins(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.chat(customer, mitra, socket)
        yield page_opener(system, customer, "/app/chat", ".list .empty")


@screen("51-chat")
async def chat(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/chat", ".mark.sent")(**options)
            await page.context.set_offline(True)
            await page.locator("textarea").fill("Kadang aku cuma pengin didengerin.")
            await page.locator("button[type=submit]").click()
            await expect(page.locator("[data-mark=sending]")).to_be_visible()
            await page.locator("textarea").fill("Boleh tanya")
            return page

        yield show


@screen("52-chat-ends-soon")
async def chat_soon(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])
        await system.advance_clock(26 * 60)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/chat", ".soon")(**options)
            signal = f'{{"op": "signal", "type": "typing", "session_id": "{session["id"]}"}}'
            # The server does not store a typing signal, and a page that is not connected yet misses the signal. The
            # screen therefore sends the typing signal repeatedly.
            while not await page.locator(".dots").is_visible():
                await socket.connection.send(signal)
                await asyncio.sleep(0.2)
            return page

        yield show


@screen("53-chat-end")
async def chat_end(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/chat", ".mark.sent")(**options)
            await page.locator("button.end").click()
            await expect(page.get_by_role("dialog")).to_be_visible()
            return page

        yield show


@screen("53d-chat-end-with-a-report")
async def chat_end_with_a_report(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/chat", ".mark.sent")(**options)
            await page.locator("button.end").click()
            await page.locator("dialog input[type=checkbox]").check()
            await page.locator("dialog .disclose").press("Enter")
            await page.locator("dialog input[type=radio]").first.press("Space")
            await expect(page.locator("dialog textarea")).to_be_visible()
            return page

        yield show


@screen("54b-chat-ended-uncomfortable")
async def chat_ended_uncomfortable(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])
        json_of(await customer.post(f"/sessions/{session['id']}/end"))
        json_of(await customer.post(f"/sessions/{session['id']}/rating", {"answer": "uncomfortable"}))
        yield page_opener(system, customer, f"/app/history/{session['id']}", ".answers")


@screen("51c-chat-contact-details")
async def chat_contact_details(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        said = {"client_message_id": "m", "text": "Follow IG: kaksari"}
        json_of(await mitra.post(f"/sessions/{session['id']}/messages", said, key=""))

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/chat", ".hint")(**options)
            await page.locator("textarea").fill("0812 3456 7890")
            await page.locator("form button[type=submit]").click()
            await expect(page.locator(".ask")).to_be_visible()
            return page

        yield show


@screen("54-chat-ended")
async def chat_ended(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])
        json_of(await customer.post(f"/sessions/{session['id']}/end"))
        yield page_opener(system, customer, f"/app/history/{session['id']}", "footer")


@screen("55-chat-cut-short")
async def chat_cut_short(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        json_of(await mitra.post(f"/sessions/{session['id']}/end", {"reason": "Listrik padam"}))
        yield page_opener(system, customer, f"/app/history/{session['id']}", "footer")


async def lose_mitra(system: System, session_id: str, seconds: int) -> None:
    """Make the mitra of a chat away for `seconds`, as a worker does, and tell the customer."""
    await system.database.execute(
        "UPDATE sessions SET mitra_away_since = curhat_now() - make_interval(secs => $2) WHERE id = $1",
        UUID(session_id),
        seconds,
    )


def mitra_away(name: str, seconds: int, selector: str) -> None:
    """Add the screen of a chat whose mitra has been away for `seconds`."""

    @screen(name)
    async def away(system: System) -> AsyncIterator[Show]:
        async with system.mitra() as (mitra, socket):
            customer = await system.customer()
            session = await system.chat(customer, mitra, socket)
            await talk(system, customer, mitra, session["id"])
        # The mitra's socket is closed, so no server process hears the mitra.
        await lose_mitra(system, session["id"], seconds)
        yield page_opener(system, customer, "/app/chat", selector)


mitra_away("53a-mitra-away", 20, ".away [role=timer]")
mitra_away("53b-mitra-away-for-a-minute", 90, ".away button")


@screen("53c-mitra-away-review")
async def mitra_away_review(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
    await lose_mitra(system, session["id"], 90)

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/chat", ".away button")(**options)
        await page.locator(".away button").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        return page

    yield show


@screen("54a-chat-unanswered")
async def chat_unanswered(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        said = {"client_message_id": "1", "text": "Halo, kak? 😀"}
        json_of(await customer.post(f"/sessions/{session['id']}/messages", said, key=""))
        json_of(await customer.post(f"/sessions/{session['id']}/end"))
        yield page_opener(system, customer, f"/app/history/{session['id']}", "footer")


@screen("51a-chat-reply")
async def chat_reply(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        path = f"/sessions/{session['id']}/messages"
        said = {"client_message_id": "m1", "text": "Coba baca www.ab.id, ya"}
        first = json_of(await mitra.post(path, said, key=""))
        json_of(await mitra.post(path, {"client_message_id": "m2", "text": "❤️"}, key=""))
        answer = {"client_message_id": "c", "text": "Makasih, kak", "reply_to_message_id": first["id"]}
        json_of(await customer.post(path, answer, key=""))

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/chat", ".quote")(**options)
            await page.locator(".theirs .meta").first.click()
            await page.locator(".do button").first.click()
            await page.locator(".theirs .meta").first.click()
            await expect(page.locator(".reply")).to_be_visible()
            return page

        yield show


@screen("51b-chat-leaving")
async def chat_leaving(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        said = {"client_message_id": "m", "text": "Coba baca www.ab.id, ya"}
        json_of(await mitra.post(f"/sessions/{session['id']}/messages", said, key=""))

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/chat", ".bubble a")(**options)
            await page.locator(".bubble a").click()
            await expect(page.locator(".leave")).to_be_visible()
            return page

        yield show


@screen("05-terms")
async def terms(system: System) -> AsyncIterator[Show]:
    async def show(**options: Any) -> Page:
        page = await welcome(system, **options)
        await page.locator(".links button").first.click()
        await expect(page.locator("dialog h3").first).to_be_visible()
        return page

    async with published_drafts(system.database):
        yield show


# Accepting the texts ------------------------------------------------------------------------------------------


@screen("80-consent-year")
async def consent_year(system: System) -> AsyncIterator[Show]:
    async with published_drafts(system.database):
        yield page_opener(system, await system.customer(), "/app/payment", "form input")


async def write_year(page: Page, year: str) -> None:
    """Answer the question for the year of birth."""
    await page.locator("form input").fill(year)
    await page.locator("form button").click()


@screen("82-consent-text")
async def consent_text(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/payment", "form input")(**options)
        await write_year(page, "1990")
        await expect(page.locator("main li").first).to_be_visible()
        return page

    async with published_drafts(system.database):
        yield show


@screen("83-adults-only")
async def adults_only(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/payment", "form input")(**options)
        await write_year(page, "2020")
        await expect(page.locator("form")).to_have_count(0)
        return page

    async with published_drafts(system.database):
        yield show


@screen("84-texts-in-profile")
async def texts_in_profile(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/profile", "fieldset")(**options)
        await page.get_by_role("button", name=re.compile("Ketentuan dan privasi|Terms and privacy")).click()
        await page.locator("dialog summary").nth(1).click()
        return page

    async with published_drafts(system.database):
        yield show


async def chat_near_its_end(
    system: System, customer: Person, mitra: Person, socket: Socket
) -> dict[str, Any]:
    """Start a chat that ends in four minutes."""
    session = await system.chat(customer, mitra, socket)
    await talk(system, customer, mitra, session["id"])
    await system.database.execute(
        "UPDATE sessions SET ends_at = ends_at - interval '26 minutes' WHERE id = $1", session["id"]
    )
    return session


@screen("56-more-time")
async def more_time(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        await chat_near_its_end(system, customer, mitra, socket)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/chat", ".soon button")(**options)
            await page.locator(".soon button").click()
            await expect(page.locator("dialog label.chosen")).to_be_visible()
            return page

        yield show


@screen("57-more-time-waiting")
async def more_time_waiting(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await chat_near_its_end(system, customer, mitra, socket)
        # Stop the clock, so that the mitra's time limit of ten seconds does not end.
        await system.advance_clock(0)
        offer_id = await system.make.offer(duration_minutes=15, price_rp=10_000, purpose="extension")
        json_of(await customer.post(f"/sessions/{session['id']}/extensions", {"offer_id": str(offer_id)}))
        yield page_opener(system, customer, "/app/chat", "dialog .waiting")


def more_time_outcome(number: int, how: str) -> None:
    """Add the screen of an extension that the mitra has accepted or rejected."""

    @screen(f"{number}-more-time-{how}")
    async def outcome(system: System) -> AsyncIterator[Show]:
        async with system.mitra() as (mitra, socket):
            customer = await system.customer()
            session = await chat_near_its_end(system, customer, mitra, socket)
            await system.advance_clock(0)
            offer_id = await system.make.offer(duration_minutes=15, price_rp=10_000, purpose="extension")

            async def show(**options: Any) -> Page:
                page = await page_opener(system, customer, "/app/chat", ".list")(**options)
                path = f"/sessions/{session['id']}/extensions"
                asked = json_of(await customer.post(path, {"offer_id": str(offer_id)}))
                await expect(page.locator("dialog .waiting")).to_be_visible()
                json_of(await mitra.post(f"/extensions/{asked['id']}/{how}"))
                await expect(page.locator("dialog .primary")).to_be_visible()
                return page

            yield show


more_time_outcome(58, "accept")
more_time_outcome(59, "reject")


AN_IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1"
)


async def sign_in_elsewhere(system: System, person: Person) -> None:
    """Sign the person in on two more devices. The browser of one of them is unknown."""
    for user_agent in (AN_IPHONE, ""):
        await system.database.execute(
            """
            INSERT INTO access_tokens (digest, role, user_id, transport, user_agent, expires_at)
            VALUES (decode(md5(random()::text), 'hex'), $1, $2, 'cookie', $3, curhat_now() + interval '1 day')
            """,
            person.role,
            person.id,
            user_agent,
        )


# History and profile -----------------------------------------------------------------------------------------


@screen("60-history")
async def history(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()
    for name in ("Kak Sari", "Kak Budi", "Kak Maria Magdalena Kusumawardhani"):
        async with system.mitra(name) as (mitra, socket):
            session = await system.chat(customer, mitra, socket)
            json_of(await customer.post(f"/sessions/{session['id']}/end"))
    async with system.mitra("Kak Wulan") as (mitra, socket):
        await system.chat(customer, mitra, socket)
        yield page_opener(system, customer, "/app/history", "li")


@screen("61-history-empty")
async def history_empty(system: System) -> AsyncIterator[Show]:
    yield page_opener(system, await system.customer(), "/app/history", ".empty")


async def payments_of(system: System, customer: Person) -> list[UUID]:
    """Make a chat with an approved extension that the mitra ended early, and a failed search that was refunded.

    Returns the payments' ids, newest first.
    """
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        json_of(await mitra.post(f"/sessions/{session['id']}/end", {"reason": "Listrik padam"}))
        pairing = await system.search(customer)
        json_of(await customer.post(f"/pairings/{pairing['id']}/cancel"))
        await refund(system, UUID(pairing["payment_id"]))
    rows = await system.database.fetch(
        "SELECT id FROM payments WHERE customer_id = $1 ORDER BY id DESC", customer.id
    )
    return [row["id"] for row in rows]


@screen("64-payments")
async def payments(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()
    await payments_of(system, customer)
    yield page_opener(system, customer, "/app/payments", "li")


@screen("65-payment-under-review")
async def payment_under_review(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()
    payment_ids = await payments_of(system, customer)
    yield page_opener(system, customer, f"/app/payments/{payment_ids[-1]}", "article")


@screen("66-payment-refunded")
async def payment_refunded(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()
    payment_ids = await payments_of(system, customer)
    yield page_opener(system, customer, f"/app/payments/{payment_ids[0]}", "article")


@screen("67-payments-empty")
async def payments_empty(system: System) -> AsyncIterator[Show]:
    yield page_opener(system, await system.customer(), "/app/payments", ".empty")


@screen("62-bestie-not-online")
async def not_online(system: System) -> AsyncIterator[Show]:
    async with system.mitra("Kak Budi"), system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.past_chat(customer, mitra, socket)
        await mitra.put("/presence", {"online": False})

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/history", "li")(**options)
            await page.locator("li button").last.click()
            await expect(page.locator("dialog .primary")).to_be_visible()
            return page

        yield show


async def warn(system: System, customer: Person) -> None:
    """Give this customer a warning about insults, as after a decision about a mitra's report."""
    operator_id, _ = await operator(system)
    await system.database.execute(WARNING, customer.id, operator_id)


WARNING = """
WITH decided AS (
    INSERT INTO reports (session_id, customer_id, mitra_id, reporter, reason, urgency, due_at, status, decision,
        decision_note, decided_by, decided_at, closed_at)
    SELECT sessions.id, customer_id, mitra_id, 'mitra', 'insult', 1, curhat_now(), 'decided', 'warn', 'Kasar.', $2,
        curhat_now(), curhat_now()
    FROM sessions WHERE customer_id = $1 LIMIT 1
    RETURNING id
)
INSERT INTO notices (role, user_id, kind, report_id) SELECT 'customer', $1, 'warning', id FROM decided
"""


@screen("58-report")
async def report(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/chat", ".mark.sent")(**options)
            await page.locator(".theirs").last.click()
            await page.locator(".do button").last.click()
            await page.locator("input[value=danger]").check()
            await expect(page.locator("dialog textarea")).to_be_visible()
            return page

        yield show


@screen("59-report-received")
async def report_received(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):

        async def show(**options: Any) -> Page:
            customer = await system.customer()
            session = await system.chat(customer, mitra, socket)
            await talk(system, customer, mitra, session["id"])
            json_of(await customer.post(f"/sessions/{session['id']}/end"))
            path = f"/app/history/{session['id']}"
            page = await page_opener(system, customer, path, ".bubble")(**options)
            await page.locator("header button").last.click()
            await page.locator("dialog li button").first.click()
            await page.locator("input[value=contact]").check()
            await page.locator("dialog button[type=submit]").click()
            await expect(page.locator("dialog .said")).to_be_visible()
            return page

        yield show


@screen("74-notices")
async def notices(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])
        json_of(await customer.post(f"/sessions/{session['id']}/end"))
        json_of(await customer.post(f"/sessions/{session['id']}/report", {"reason": "money"}))
        await warn(system, customer)
        yield page_opener(system, customer, "/app/notices", "main li")


@screen("75-notices-appeal")
async def notices_appeal(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.past_chat(customer, mitra, socket)
        await warn(system, customer)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/notices", "article")(**options)
            await page.locator("article button").last.click()
            await expect(page.locator("article textarea")).to_be_visible()
            return page

        yield show


@screen("76-notices-empty")
async def notices_empty(system: System) -> AsyncIterator[Show]:
    yield page_opener(system, await system.customer(), "/app/notices", "main p")


@screen("18-home-notice")
async def home_notice(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        await system.past_chat(customer, mitra, socket)
        await warn(system, customer)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, "/app/", "article")(**options)
            await page.locator("header button").first.click()
            await expect(page.locator(".notices")).to_be_visible()
            return page

        yield show


@screen("70-profile")
async def profile(system: System) -> AsyncIterator[Show]:
    """The customer has blocked a mitra, and is signed in on two devices."""
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.past_chat(customer, mitra, socket)
        json_of(await customer.post(f"/sessions/{session['id']}/block"))
    await sign_in_elsewhere(system, customer)
    yield page_opener(system, customer, "/app/profile", "li .out >> nth=1")


@screen("77-export")
async def export(system: System) -> AsyncIterator[Show]:
    async def show(**options: Any) -> Page:
        # One person cannot ask for several codes in a short time.
        customer = await system.customer()
        page = await page_opener(system, customer, "/app/profile", "main")(**options)
        await page.get_by_role("button", name=re.compile("Unduh data saya|Download my data")).click()
        phone = page.get_by_role("dialog").get_by_role("textbox")
        await phone.fill(
            await system.database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)
        )
        await phone.press("Enter")
        await expect(page.get_by_role("dialog").get_by_role("radio")).to_have_count(2)
        return page

    yield show


@screen("78-delete-chat")
async def delete_chat(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])
        json_of(await customer.post(f"/sessions/{session['id']}/end"))

        async def show(**options: Any) -> Page:
            path = f"/app/history/{session['id']}"
            page = await page_opener(system, customer, path, "footer")(**options)
            await page.locator("header button").last.click()
            await page.get_by_role("button", name=re.compile("Hapus obrolan ini|Delete this chat")).click()
            await expect(page.get_by_role("button", name=re.compile("Jangan hapus|Keep it"))).to_be_visible()
            return page

        yield show


@screen("60-block")
async def block(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.past_chat(customer, mitra, socket)

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, f"/app/history/{session['id']}", "footer")(**options)
            await page.locator("header button").last.click()
            await page.get_by_role("dialog").get_by_role("button", name=re.compile("Blokir|Block")).click()
            await expect(page.locator("dialog .said")).to_be_visible()
            return page

        yield show


@screen("79-chat-deleted")
async def chat_deleted(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.chat(customer, mitra, socket)
        await talk(system, customer, mitra, session["id"])
        json_of(await customer.post(f"/sessions/{session['id']}/end"))
        answer = await customer.delete(f"/sessions/{session['id']}/messages")
        assert answer.status_code == 204
        yield page_opener(system, customer, f"/app/history/{session['id']}", "footer")


@screen("61-again-blocked")
async def again_blocked(system: System) -> AsyncIterator[Show]:
    async with system.mitra() as (mitra, socket):
        customer = await system.customer()
        session = await system.past_chat(customer, mitra, socket)
        json_of(await customer.post(f"/sessions/{session['id']}/block"))

        async def show(**options: Any) -> Page:
            page = await page_opener(system, customer, f"/app/history/{session['id']}", "footer")(**options)
            await page.locator("footer .wide").click()
            await expect(page.get_by_role("dialog")).to_be_visible()
            return page

        yield show


@screen("90-delete-account")
async def delete_account(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/profile", "main")(**options)
        await page.get_by_role("button", name=re.compile("Hapus akun|Delete account")).click()
        await expect(page.get_by_role("dialog").get_by_role("button")).to_have_count(2)
        return page

    yield show


@screen("91-delete-account-code")
async def delete_account_code(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()
    phone = await system.database.fetchval("SELECT phone_number FROM people WHERE id = $1", customer.id)

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/profile", "main")(**options)
        await page.get_by_role("button", name=re.compile("Hapus akun|Delete account")).click()
        await page.get_by_role("button", name=re.compile("Lanjut|Go on")).click()
        await page.get_by_role("dialog").get_by_role("textbox").fill(phone)
        await page.get_by_role("dialog").get_by_role("textbox").press("Enter")
        await expect(page.get_by_role("button", name=re.compile("Hapus akun saya|Delete my"))).to_be_visible()
        return page

    yield show


@screen("72-profile-notifications-on")
async def profile_with_notifications(system: System) -> AsyncIterator[Show]:
    async with push_service() as vendor:
        yield page_opener_with_push(
            system, await system.customer(), vendor, "/app/profile", "[aria-checked=true]"
        )


@screen("73-profile-notifications-blocked")
async def profile_blocked(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await (await system.device_of(customer, **options)).new_page()
        await page.add_init_script(BLOCKED)
        await page.goto("/app/profile")
        await expect(page.locator("[role=switch]:disabled")).to_be_visible()
        return page

    yield show


@screen("80-help")
async def help_card(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/", ".cta")(**options)
        await page.locator("button.help").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        return page

    yield show


@screen("71-sign-out")
async def sign_out(system: System) -> AsyncIterator[Show]:
    customer = await system.customer()

    async def show(**options: Any) -> Page:
        page = await page_opener(system, customer, "/app/profile", "fieldset")(**options)
        await page.locator("main > .out button").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        return page

    yield show
