"""Test the app on bad networks: it sends each message once, and it opens without a network."""

import asyncio
import json
import random
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, WebSocketRoute, expect

from curhat.app.static_files import web_folder
from tests.browser.system import System, json_of, wait_until

FIRST_LOAD_LIMIT_BYTES = 40_000
CUTS = 20


async def write(page: Page, text: str) -> None:
    """Type a message into the open chat and send the message."""
    await page.get_by_label("Tulis pesan").fill(text)
    await page.get_by_role("button", name="Kirim", exact=True).click()


async def stored_texts(system: System, session_id: str) -> list[str]:
    """Read the texts of a session's messages from PostgreSQL, in order."""
    rows = await system.database.fetch(
        "SELECT text FROM messages WHERE session_id = $1 ORDER BY id", session_id
    )
    return [row["text"] for row in rows]


@pytest.mark.rule("V.3")
async def test_a_message_that_a_customer_writes_without_a_network_survives_a_reload_and_is_sent_once(
    system: System,
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        page = await (await system.device_of(customer, service_workers="allow")).new_page()
        await page.goto("/app/")
        await expect(page).to_have_url(f"{system.url}/app/chat")
        await page.evaluate("navigator.serviceWorker.ready")
        await wait_until(lambda: page.evaluate("caches.keys().then((names) => names.length === 1)"))
        await write(page, "Sebelum putus")
        await expect(page.locator("[data-mark=sent]")).to_have_count(1)
        await page.context.set_offline(True)
        await expect(page.get_by_text("Tidak ada koneksi")).to_be_visible()
        await write(page, "Saat putus")
        await expect(page.locator("[data-mark=sending]")).to_have_count(1)
        await page.reload()
        await expect(page.locator("[data-mark=sending] p")).to_have_text("Saat putus")
        await expect(page.get_by_text("Sebelum putus")).to_be_visible()
        await page.context.set_offline(False)
        await expect(page.locator("[data-mark=sent]")).to_have_count(2)
        await expect(page.locator("[data-mark=sending]")).to_have_count(0)
        assert await stored_texts(system, session["id"]) == ["Sebelum putus", "Saat putus"]


@pytest.mark.rule("V.3")
@pytest.mark.invariant(10)
async def test_no_message_is_lost_or_stored_twice_during_twenty_network_losses(system: System) -> None:
    customer = await system.customer()
    chance = random.Random(5)
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        page = await system.page_of(customer)
        # Wait for the chat. The app fetches the code of the chat screen when the app first shows a chat.
        await expect(page.get_by_label("Tulis pesan")).to_be_visible()
        mine, theirs = [], []
        for cut in range(CUTS):
            await page.context.set_offline(True)
            for number in range(chance.randint(0, 2)):
                mine.append(f"aku {cut}.{number}")
                await write(page, mine[-1])
            for number in range(chance.randint(0, 2)):
                theirs.append(f"bestie {cut}.{number}")
                body = {"client_message_id": theirs[-1], "text": theirs[-1]}
                json_of(await mitra.post(f"/sessions/{session['id']}/messages", body, key=""))
            await page.context.set_offline(False)
            if chance.random() < 0.5:
                mine.append(f"aku {cut} tersambung")
                await write(page, mine[-1])
        await expect(page.locator("[data-mark=sending]")).to_have_count(0, timeout=30_000)
        await expect(page.locator(".bubble p")).to_have_count(len(mine) + len(theirs))
        stored = await stored_texts(system, session["id"])
        assert [text for text in stored if text.startswith("aku")] == mine
        assert await page.locator(".bubble p").all_text_contents() == stored


@pytest.mark.rule("V.3")
@pytest.mark.parametrize("part", ["js", "css"])
async def test_the_app_fetches_the_code_and_style_of_a_screen_again_after_a_failed_fetch(
    system: System, part: str
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        page = await system.page_of(customer)
        await expect(page.get_by_text("Hai, Melati")).to_be_visible()
        await page.route(f"**/assets/Chat-*.{part}", lambda route: route.abort())
        await system.chat(customer, mitra, socket)
        await expect(page.get_by_role("alert")).to_contain_text("Tidak ada koneksi")
        await page.unroute_all()
        await page.get_by_role("button", name="Coba lagi").click()
        await expect(page.get_by_label("Tulis pesan")).to_be_visible()
        await expect(page.locator("main")).to_have_css("flex-direction", "column")


@pytest.mark.rule("V.3")
@pytest.mark.invariant(10)
async def test_a_late_snapshot_does_not_overwrite_a_newer_event(system: System) -> None:
    customer = await system.customer()
    is_read, may_arrive = asyncio.Event(), asyncio.Event()

    async def delay(route: Route) -> None:
        answer = await route.fetch()
        is_read.set()
        await may_arrive.wait()
        await route.fulfill(response=answer)

    async with system.mitra("Kak Budi"), system.mitra() as (mitra, socket):
        await system.reject_again(customer, mitra, socket)
        page = await system.page_of(customer)
        popup = page.get_by_role("dialog", name="Bestie sedang tidak online")
        await expect(popup).to_be_visible()
        received: list[str] = []
        # Collect the server's frames on every later connection.
        await page.route_web_socket("**/realtime", lambda route: collect_frames(route, received))
        await page.reload()
        await expect(popup).to_be_visible()
        await page.route("**/api/client/state", delay)
        await popup.get_by_role("button", name="Tutup").click()
        await is_read.wait()
        # The function `delay` delays the snapshot that the server sends to the first phone. Meanwhile the customer
        # opens a payment on another phone.
        await system.open_payment(customer)
        await wait_until(lambda: asyncio.sleep(0, any('"pending"' in frame for frame in received)))
        may_arrive.set()
        await expect(page.get_by_role("button", name="Bayar Rp20.000")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("button", name="Bayar Rp20.000")).to_be_visible()


def collect_frames(route: WebSocketRoute, frames: list[str]) -> None:
    """Forward the frames of the browser and of the server, and collect the server's frames."""
    server = route.connect_to_server()

    def from_server(frame: str | bytes) -> None:
        frames.append(str(frame))
        route.send(frame)

    server.on_message(from_server)


async def test_the_app_opens_without_a_network_after_the_first_visit(system: System) -> None:
    page = await (await system.device_of(await system.customer(), service_workers="allow")).new_page()
    await page.goto("/app/")
    await expect(page.get_by_text("Hai, Melati")).to_be_visible()
    await page.evaluate("navigator.serviceWorker.ready")
    await wait_until(lambda: page.evaluate("caches.keys().then((names) => names.length === 1)"))
    await page.context.set_offline(True)
    await page.goto("/app/history")
    await expect(page.get_by_role("heading", name="Riwayat")).to_be_visible()
    # A new tab starts the stored app, but has no stored state to show.
    other = await page.context.new_page()
    await other.goto("/app/")
    await expect(other.get_by_role("heading", name="Belum tersambung")).to_be_visible()
    await page.context.set_offline(False)
    await expect(other.get_by_text("Hai, Melati")).to_be_visible()


async def test_the_app_can_be_installed(system: System) -> None:
    page = await (await system.context(service_workers="allow")).new_page()
    await page.goto("/app/")
    session = await page.context.new_cdp_session(page)
    manifest = await session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    parsed = json.loads(manifest["data"])
    assert (parsed["start_url"], parsed["display"], parsed["lang"]) == ("/app/", "standalone", "id")
    for icon in parsed["icons"]:
        answer = await page.request.get(icon["src"])
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    await page.evaluate("navigator.serviceWorker.ready")
    assert await page.evaluate("navigator.serviceWorker.controller !== undefined")


@pytest.mark.parametrize("is_signed_in", [False, True])
async def test_the_first_load_stays_below_40_kilobytes(system: System, is_signed_in: bool) -> None:
    device = await system.device_of(await system.customer()) if is_signed_in else await system.context()
    page = await device.new_page()
    loaded: list[str] = []
    page.on("response", lambda answer: loaded.append(answer.url.removeprefix(system.url)))
    await page.goto("/app/", wait_until="networkidle")
    await expect(
        page.get_by_text("Hai, Melati") if is_signed_in else page.get_by_label("Nomor HP")
    ).to_be_visible()
    bytes_of = {path: size_of(path) for path in loaded if path == "/app/" or path.endswith((".js", ".css"))}
    assert len(bytes_of) > 3
    assert sum(bytes_of.values()) < FIRST_LOAD_LIMIT_BYTES, bytes_of


def size_of(path: str) -> int:
    """Return the size of a file's gzip version, or the size of the file if no gzip version exists."""
    file = web_folder() / (path.removeprefix("/") + ("index.html" if path.endswith("/") else ""))
    compressed = Path(f"{file}.gz")
    return (compressed if compressed.exists() else file).stat().st_size


@pytest.mark.rule("V.3")
@pytest.mark.invariant(10)
async def test_the_app_notices_and_fetches_a_lost_event(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        page = await (await system.device_of(customer)).new_page()
        hellos: list[str] = []

        def forward(route: WebSocketRoute) -> None:
            server = route.connect_to_server()

            def from_page(frame: str | bytes) -> None:
                if '"hello"' in str(frame):
                    hellos.append(str(frame))
                server.send(frame)

            def from_server(frame: str | bytes) -> None:
                # Drop the event once. The client then asks for the lost event and gets the event.
                if len(hellos) > 1 or "Hilang" not in str(frame):
                    route.send(frame)

            route.on_message(from_page)
            server.on_message(from_server)

        await page.route_web_socket("**/realtime", forward)
        await page.goto("/app/")
        await expect(page.get_by_text("Kamu terhubung dengan Kak Sari")).to_be_visible()
        await wait_until(lambda: asyncio.sleep(0, len(hellos) == 1))
        for text in ("Hilang di jalan", "Sampai"):
            body = {"client_message_id": text, "text": text}
            json_of(await mitra.post(f"/sessions/{session['id']}/messages", body, key=""))
        await expect(page.locator(".theirs p")).to_have_text(["Hilang di jalan", "Sampai"])
        assert len(hellos) == 2


@pytest.mark.rule("V.3")
@pytest.mark.invariant(10)
async def test_the_app_fetches_a_snapshot_when_the_stream_cannot_be_resumed(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        page = await system.page_of(customer)
        await expect(page.get_by_text("Kamu terhubung dengan Kak Sari")).to_be_visible()
        await page.context.set_offline(True)
        await expect(page.get_by_text("Tidak ada koneksi")).to_be_visible()
        body = {"client_message_id": "1", "text": "Ditulis saat kamu pergi"}
        json_of(await mitra.post(f"/sessions/{session['id']}/messages", body, key=""))
        # Simulate a server that has started a new stream without the missed events.
        await system.database.execute(
            "UPDATE streams SET epoch = uuidv7() WHERE role = 'customer' AND user_id = $1", customer.id
        )
        async with page.expect_response("**/api/client/state"):
            await page.context.set_offline(False)
        await expect(page.locator(".theirs p")).to_have_text("Ditulis saat kamu pergi")
        json_of(await mitra.post(f"/sessions/{session['id']}/end", {"reason": "Listrik padam"}))
        await expect(page.get_by_text("Bestie mengakhiri sesi lebih awal.")).to_be_visible()
