"""Test the apps on phones with old browsers, without storage, or with a page of a removed version."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect

from tests.browser.mitras import button, card, go_online, new_mitra, send_message
from tests.browser.system import System, json_of
from tests.browser.test_journey import accept, pay
from tests.browser.test_network import stored_texts, write

WEB = Path(__file__).parents[2] / "web"
# Delete every function that a browser of web/.browserslistrc lacks, except trusted types. Without trusted types, this
# Chromium would accept no markup under our content security policy. A browser that never had trusted types ignores this
# part of the policy.
DELETE = """
const missing = %s;
const isTrustedTypes = (name) => /^trusted/i.test(name);
const find = (path) => path.split('.').reduce((object, name) => object?.[name], globalThis);
for (const [owner, name, isStatic] of missing.members) {
    if (isTrustedTypes(owner) || isTrustedTypes(name)) continue;
    const object = find(owner);
    const holder = isStatic ? object : object?.prototype;
    if (Object(holder) === holder) Reflect.deleteProperty(holder, name);
}
for (const name of missing.globals) if (!isTrustedTypes(name)) Reflect.deleteProperty(globalThis, name);
"""
# Lists those of the following functions that the browser still has. The list must be empty.
DELETED = """() => [
    AbortSignal.any, AbortSignal.timeout, [].at, ''.at, [].findLast, [].toSorted, Object.hasOwn, crypto.randomUUID,
    window.structuredClone, window.HTMLDialogElement, document.createElement('dialog').showModal, window.Notification,
    Intl.Segmenter, Promise.withResolvers,
].filter((one) => one !== undefined).map(String)"""
REFUSE_STORAGE = """for (const name of ['localStorage', 'sessionStorage'])
    Object.defineProperty(window, name, { get() { throw new DOMException('', 'SecurityError'); } });"""


@pytest.fixture(scope="module")
def missing() -> str:
    """Return as JSON the functions that a browser of web/.browserslistrc lacks."""
    node = Path(sys.executable).with_name("node")
    command = [str(node), str(WEB / "build" / "baseline.ts")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def open_old(device: BrowserContext, path: str, missing: str) -> Page:
    """Open the app in a browser without the functions in `missing`."""
    await device.add_init_script(DELETE % missing)
    page = await device.new_page()
    await page.goto(path)
    assert await page.evaluate(DELETED) == []
    return page


async def test_a_customer_with_an_old_browser_goes_from_the_payment_to_the_history(
    system: System, missing: str
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        page = await open_old(await system.device_of(customer), "/app/", missing)
        await pay(page)
        await expect(page.get_by_role("heading", name="Mencari bestie…")).to_be_visible()
        session_id = await accept(mitra, socket)
        await write(page, "Halo Kak")
        await expect(page.locator("[data-mark=sent]")).to_be_visible()
        said = {"client_message_id": "1", "text": "Halo Melati"}
        json_of(await mitra.post(f"/sessions/{session_id}/messages", said, key=""))
        await expect(page.locator(".theirs p")).to_have_text("Halo Melati")
        # The composer is at the lower edge of the screen, even without `:has()` and `dvh`.
        await expect(button(page, "Kirim")).to_be_in_viewport()
        await button(page, "Akhiri").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_be_in_viewport()
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await button(page, "Akhiri").click()
        await button(page, "Ya, akhiri").click()
        await expect(page.get_by_text("Kamu mengakhiri sesi ini.")).to_be_visible()
        await button(page, "Beranda").click()
        await button(page, "Riwayat").click()
        await page.get_by_role("button", name=re.compile("Baca curhat dengan Kak Sari")).click()
        await expect(page.get_by_text("Halo Kak")).to_be_visible()


async def test_a_mitra_with_an_old_browser_accepts_a_request_and_chats(system: System, missing: str) -> None:
    page = await open_old(await system.device_of(await new_mitra(system)), "/mitra/", missing)
    await go_online(page)
    customer = await system.customer("Melati")
    await system.search(customer)
    await button(card(page, "Melati"), "Terima Melati").click()
    await write(page, "Halo Melati")
    await expect(page.locator("[data-mark=sent]")).to_be_visible()
    session = json_of(await customer.get("/state"))["session"]
    await send_message(customer, session, "Halo Kak")
    await expect(page.locator(".theirs p")).to_have_text("Halo Kak")
    json_of(await customer.post(f"/sessions/{session['id']}/end"))
    await page.goto("/mitra/history")
    await expect(page.get_by_role("button", name=re.compile("Melati"))).to_be_visible()


@pytest.mark.parametrize("path", ["/app/", "/mitra/", "/control-center/"])
async def test_the_app_tells_a_person_that_the_browser_is_too_old(system: System, path: str) -> None:
    device = await system.context()
    await device.add_init_script("delete window.BigInt64Array")
    page = await device.new_page()
    await page.goto(path)
    await expect(page.get_by_role("alert")).to_contain_text("Peramban ini terlalu lama untuk aplikasi ini.")
    await expect(page.get_by_role("alert")).to_contain_text("This browser is too old for this app.")
    await expect(page.get_by_role("button")).to_have_count(0)


async def test_a_customer_on_a_phone_without_storage_stays_signed_in_and_sends_a_message(
    system: System,
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        device = await system.device_of(customer)
        await device.add_init_script(REFUSE_STORAGE)
        page = await device.new_page()
        await page.goto("/app/")
        await expect(page.get_by_text("Hai, Melati")).to_be_visible()
        session = await system.chat(customer, mitra, socket)
        await write(page, "Halo Kak")
        await expect(page.locator("[data-mark=sent]")).to_be_visible()
        assert await stored_texts(system, session["id"]) == ["Halo Kak"]


async def test_two_tabs_each_write_a_message_without_a_network_and_both_messages_arrive(
    system: System,
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        device = await system.device_of(customer)
        first, second = await device.new_page(), await device.new_page()
        for page in (first, second):
            await page.goto("/app/chat")
            await expect(page.get_by_label("Tulis pesan")).to_be_visible()
        await device.set_offline(True)
        await write(first, "Dari tab pertama")
        await write(second, "Dari tab kedua")
        await first.close()
        await device.set_offline(False)
        await expect(second.locator("[data-mark=sent]")).to_have_count(2)
        assert sorted(await stored_texts(system, session["id"])) == ["Dari tab kedua", "Dari tab pertama"]


@pytest.mark.parametrize("part", ["js", "css"])
async def test_a_page_reloads_itself_once_when_a_deploy_has_removed_its_files(
    system: System, part: str
) -> None:
    customer = await system.customer()
    asked: list[str] = []

    async def answer_missing(route: Route) -> None:
        asked.append(route.request.method)
        await route.fulfill(status=404, body="There is no such file.")

    async with system.mitra() as (mitra, socket):
        page = await system.page_of(customer)
        await expect(page.get_by_text("Hai, Melati")).to_be_visible()
        await page.route(f"**/assets/Chat-*.{part}", answer_missing)
        async with page.expect_event("load"):
            await system.chat(customer, mitra, socket)
        # In this test, the file is also missing after the reload. The page reports the missing file, and does not
        # reload again.
        problem = page.get_by_role("alert")
        await expect(problem).to_have_text("Gagal dimuat. Muat ulang aplikasi, lalu coba lagi.")
        await page.unroute_all()
        await button(page, "Muat ulang").click()
        await expect(page.get_by_label("Tulis pesan")).to_be_visible()


async def test_an_old_page_reloads_itself_once_when_a_deploy_has_removed_its_script(system: System) -> None:
    page = await (await system.context()).new_page()
    await page.route("**/assets/first-*.js", lambda route: route.fulfill(status=404), times=1)
    await page.goto("/app/")
    await expect(page.get_by_label("Nomor HP")).to_be_visible()
    await page.route("**/assets/first-*.js", lambda route: route.fulfill(status=404))
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("Aplikasi ini belum termuat.")


async def test_a_chat_that_stays_open_announces_a_new_version_and_keeps_the_text_field(
    system: System,
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        await system.chat(customer, mitra, socket)
        page = await (await system.device_of(customer)).new_page()
        await page.clock.install()
        await page.goto("/app/")
        send = button(page, "Kirim")
        await expect(send).to_be_in_viewport(ratio=1)
        # Some seconds after its start, the page fetches the code that checks for a new version.
        async with page.expect_response(re.compile(r"/assets/later-[\w-]{7}\.js$")):
            await page.clock.fast_forward("00:30")
        await page.wait_for_load_state("networkidle")
        text = '<div id="app"></div><script type="module" src="/app/assets/first-BBBBBBBB.js"></script>'
        await page.route("**/app/", lambda route: route.fulfill(body=text, content_type="text/html"))
        await page.clock.fast_forward("24:00:00")
        await expect(page.get_by_text("Ada versi baru Curhat.")).to_be_visible()
        await expect(send).to_be_in_viewport(ratio=1)
        await page.unroute_all()
        await button(page, "Muat ulang").click()
        await expect(page.get_by_text("Ada versi baru Curhat.")).to_have_count(0)


async def test_a_history_that_was_opened_without_a_network_loads_when_the_network_is_back(
    system: System,
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        await system.past_chat(customer, mitra, socket)
        page = await system.page_of(customer)
        await button(page, "Riwayat").click()
        row = page.get_by_role("button", name=re.compile("Baca curhat dengan Kak Sari"))
        await expect(row).to_be_visible()
        await button(page, "Kembali").click()
        await page.context.set_offline(True)
        await button(page, "Riwayat").click()
        await expect(page.get_by_role("alert")).to_have_text(re.compile("Tidak ada koneksi"))
        await page.context.set_offline(False)
        await expect(row).to_be_visible()
        await expect(page.get_by_role("alert")).to_have_count(0)


async def test_the_app_does_not_blame_the_network_when_the_server_is_broken(system: System) -> None:
    customer = await system.customer()
    page = await (await system.device_of(customer)).new_page()
    await page.route("**/api/client/state", lambda route: route.fulfill(status=500, body=""))
    await page.goto("/app/")
    await expect(page.get_by_role("heading", name="Belum tersambung")).to_be_visible()
    await expect(page.locator("body")).not_to_contain_text(re.compile("koneksi|internet"))
    await page.unroute_all()
    await expect(page.get_by_text("Hai, Melati")).to_be_visible()
