"""Test when the button of the call to action is enabled, and which text the app shows while the button is disabled."""

import json

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.system import System

POLL = "**/api/client/mitra-availability"
BACKGROUND = """(isHidden) => {
    const get = () => (isHidden ? 'hidden' : 'visible');
    Object.defineProperty(document, 'visibilityState', { get, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


def polls_of(page: Page) -> list[str]:
    """Return a list that collects the polls of this page."""
    found: list[str] = []
    page.on("request", lambda sent: found.append(sent.url) if "mitra-availability" in sent.url else None)
    return found


@pytest.mark.rule("1.4")
async def test_the_button_is_disabled_and_shows_the_reason_when_no_mitra_is_available(system: System) -> None:
    page = await system.page_of(await system.customer())
    await expect(page.get_by_role("button", name="Curhat", exact=True)).to_be_disabled()
    await expect(page.get_by_text("Belum ada bestie tersedia")).to_be_visible()
    async with system.mitra():
        await expect(page.get_by_role("button", name="Curhat", exact=True)).to_be_enabled()
    await expect(page.get_by_role("button", name="Curhat", exact=True)).to_be_disabled()


@pytest.mark.rule("1.3")
async def test_the_app_polls_every_five_seconds_in_the_foreground_and_never_in_the_background(
    system: System,
) -> None:
    page = await (await system.device_of(await system.customer())).new_page()
    await page.clock.install()
    polls = polls_of(page)
    await page.goto("/app/")
    await expect(page.get_by_text("Belum ada bestie tersedia")).to_be_visible()
    assert len(polls) == 1
    for count in (2, 3):
        async with page.expect_response(POLL):
            await page.clock.run_for(5_000)
        assert len(polls) == count
    await page.evaluate(BACKGROUND, True)
    await page.clock.run_for(60_000)
    assert len(polls) == 3
    async with page.expect_response(POLL):  # The app polls as soon as the page is visible again.
        await page.evaluate(BACKGROUND, False)
    assert len(polls) == 4


@pytest.mark.rule("1.6")
@pytest.mark.parametrize("failure", ["error", "cut off", "nonsense", "offline"])
async def test_a_failed_poll_disables_the_button_even_after_a_successful_poll(
    system: System, failure: str
) -> None:
    page = await (await system.device_of(await system.customer())).new_page()
    await page.clock.install()
    async with system.mitra():
        await page.goto("/app/")
        button = page.get_by_role("button", name="Curhat", exact=True)
        await expect(button).to_be_enabled()

        async def fail(route: Route) -> None:
            if failure == "error":
                await route.fulfill(status=500, body="{}")
            elif failure == "cut off":
                await route.abort("connectionreset")
            else:
                await route.fulfill(body="<html>wifi login</html>")

        if failure == "offline":
            await page.context.set_offline(True)
        else:
            await page.route(POLL, fail)
            await page.clock.run_for(5_000)
        await expect(button).to_be_disabled()
        await expect(page.get_by_text("Belum ada bestie tersedia")).to_be_visible()


@pytest.mark.rule("1.6")
async def test_the_button_is_disabled_when_a_poll_gets_no_answer(system: System) -> None:
    page = await (await system.device_of(await system.customer())).new_page()
    await page.clock.install()
    async with system.mitra():
        await page.goto("/app/")
        button = page.get_by_role("button", name="Curhat", exact=True)
        await expect(button).to_be_enabled()
        await page.route(POLL, lambda _route: None)
        await page.clock.run_for(5_000)
        await expect(button).to_be_disabled()


@pytest.mark.rule("1.5")
async def test_the_customer_never_sees_the_number_of_mitras(system: System) -> None:
    page = await (await system.device_of(await system.customer())).new_page()
    answer = json.dumps({"available": True, "count": 734_921})
    await page.route(POLL, lambda route: route.fulfill(content_type="application/json", body=answer))
    await page.goto("/app/")
    await expect(page.get_by_role("button", name="Curhat", exact=True)).to_be_enabled()
    assert "734" not in await page.inner_text("body")
    assert "921" not in await page.content()
