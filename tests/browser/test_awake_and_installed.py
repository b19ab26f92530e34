"""Test that the screen stays on while a person waits, and that the app explains how to install the app."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.mitras import button, go_online, new_mitra, switch
from tests.browser.system import System, json_of
from tests.browser.test_calling import BACKGROUND

# Count the wake locks that the page holds. The browser releases a lock when the page goes to the background.
COUNT_LOCKS = """(() => {
    window.locks = 0;
    const request = async () => {
        window.locks += 1;
        let isHeld = true;
        const release = async () => {
            if (isHeld) window.locks -= 1;
            isHeld = false;
        };
        document.addEventListener('visibilitychange', release, { once: true });
        return { release };
    };
    Object.defineProperty(navigator, 'wakeLock', { value: { request } });
})()"""
NO_LOCKS = "delete navigator.wakeLock; delete Navigator.prototype.wakeLock"
OFFER_TO_INSTALL = """() => {
    const offer = new Event('beforeinstallprompt', { cancelable: true });
    offer.prompt = async () => (window.asked = true);
    dispatchEvent(offer);
    return offer.defaultPrevented;
}"""
SAFARI_ON_A_PHONE = "navigator.standalone = false; delete window.PushManager"


async def expect_locks(page: Page, count: int) -> None:
    await page.wait_for_function("(count) => window.locks === count", arg=count)


@pytest.mark.rule("V.8")
async def test_the_screen_stays_on_while_a_customer_searches(system: System) -> None:
    async with system.mitra():
        customer = await system.customer()
        await system.search(customer)
        page = await (await system.device_of(customer)).new_page()
        await page.add_init_script(COUNT_LOCKS)
        await page.goto("/app/")
        await expect(page.get_by_role("heading", name="Mencari bestie…")).to_be_visible()
        await expect_locks(page, 1)
        await expect(page.get_by_text("Ketuk sesekali")).to_have_count(0)
        await page.evaluate(BACKGROUND, True)
        await expect_locks(page, 0)
        await page.evaluate(BACKGROUND, False)
        await expect_locks(page, 1)
        await button(page, "Berhenti mencari").click()
        await button(page, "Ya, berhenti").click()
        await expect_locks(page, 0)

        other = await system.customer()
        await system.search(other)
        page = await (await system.device_of(other)).new_page()
        await page.add_init_script(NO_LOCKS)
        await page.goto("/app/")
        await expect(page.get_by_text("Ketuk sesekali supaya layar HP tidak mati.")).to_be_visible()


@pytest.mark.rule("V.8")
async def test_the_screen_stays_on_while_a_mitra_is_online(system: System) -> None:
    device = await system.device_of(await new_mitra(system))
    page = await device.new_page()
    await page.add_init_script(COUNT_LOCKS)
    await page.goto("/mitra/")
    await go_online(page)
    await expect_locks(page, 1)
    await button(page, "Profil").click()
    await expect(page.get_by_role("heading", name="Profil")).to_be_visible()
    await expect_locks(page, 1)
    await page.go_back()
    await switch(page).click()
    await expect(page.get_by_role("heading", name="Kamu offline")).to_be_visible()
    await expect_locks(page, 0)

    page = await device.new_page()
    await page.add_init_script(NO_LOCKS)
    await page.goto("/mitra/")
    await expect(page.get_by_text("Layar HP ini bisa mati sendiri")).to_have_count(0)
    await go_online(page)
    await expect(page.get_by_text("Layar HP ini bisa mati sendiri")).to_be_visible()


@pytest.mark.rule("V.8")
async def test_the_app_offers_its_installation_to_a_customer_with_a_history(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        await system.past_chat(customer, mitra, socket)
    page = await system.page_of(customer, "/app/history")
    hint = page.get_by_role("heading", name="Simpan Curhat di layar utama")
    await expect(page.get_by_role("listitem")).to_have_count(1)
    await expect(hint).to_have_count(0)
    assert await page.evaluate(OFFER_TO_INSTALL)
    await button(page, "Pasang").click()
    await expect(hint).to_have_count(0)
    assert await page.evaluate("window.asked")

    await page.evaluate(OFFER_TO_INSTALL)
    await button(page, "Nanti saja").click()
    await expect(hint).to_have_count(0)
    await page.reload()
    await expect(page.get_by_role("listitem")).to_have_count(1)
    await page.evaluate(OFFER_TO_INSTALL)
    await expect(hint).to_have_count(0)
    await page.goto("/app/profile")
    await expect(page.get_by_role("switch")).to_be_visible()
    await page.evaluate(OFFER_TO_INSTALL)
    await expect(hint).to_be_visible()


@pytest.mark.rule("V.8")
@pytest.mark.parametrize("who", ["customer", "mitra"])
async def test_an_iphone_shows_how_to_install_the_app_and_get_notifications(system: System, who: str) -> None:
    person = await (system.customer() if who == "customer" else new_mitra(system))
    if who == "mitra":
        json_of(await person.put("/presence", {"online": True}))
    page = await (await system.device_of(person)).new_page()
    await page.add_init_script(SAFARI_ON_A_PHONE)
    await page.goto("/app/profile" if who == "customer" else "/mitra/phone")
    await expect(page.get_by_text("Notifikasi baru bisa dinyalakan setelah")).to_be_visible()
    await expect(page.get_by_text("Tambah ke Layar Utama")).to_be_visible()
