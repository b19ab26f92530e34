"""Test the Control Center's screens that differ in production, in a real browser."""

import dataclasses
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Literal

import pyotp
import pytest
from playwright.async_api import expect

from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.browser.operators import DESKTOP_SCREEN, operator
from tests.browser.system import System
from tests.browser.test_screens import PICTURES, take_picture, violations
from tests.support.chromium import Browsers
from tests.support.signed_in import OPERATOR_PASSWORD, development_settings, free_port, start_server

THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


@pytest.fixture
async def production(
    servers: EmbeddedServers, database_url: str, database: Database, browsers: Browsers
) -> AsyncIterator[System]:
    """Start a server with production settings and no people."""
    port = free_port()
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url),
        environment="production",
        code_senders=("sms",),
        operations_port=free_port(),
        public_origins=(f"http://127.0.0.1:{port}",),
    )
    async with start_server(settings, database, port=port) as opened:
        system = System(opened.url, opened.http, database, browsers)
        yield system
        await system.close()
        assert system.problems == []


@pytest.mark.rule("S.3", "V.1")
async def test_an_operator_must_first_set_up_an_authenticator_app(
    production: System,
) -> None:
    _, email = await operator(production)
    page = await (await production.context(is_phone=False, language="en", size=DESKTOP_SCREEN)).new_page()
    mocked = page.get_by_text("Payments here are mocked: no money moves.")
    await page.goto("/control-center/cases")
    await expect(mocked).to_be_visible()
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password").fill(OPERATOR_PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()

    required = page.get_by_text("Set up an authenticator app first: nothing else is open without one.")
    await expect(required).to_be_visible()
    await expect(mocked).to_be_visible()
    await expect(page.get_by_role("navigation")).to_have_count(0)
    # Until the operator has set up an authenticator app, every URL shows the screen for the setup.
    await page.goto("/control-center/mitras")
    await expect(required).to_be_visible()
    await expect(page.get_by_role("navigation")).to_have_count(0)
    for theme in THEMES:
        await page.emulate_media(color_scheme=theme)
        assert await violations(page) == []
        if PICTURES:
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            await page.screenshot(path=Path(PICTURES) / f"control-center-must-enrol-en-{theme}.png")

    await page.get_by_label("Password", exact=True).fill(OPERATOR_PASSWORD)
    await page.get_by_role("button", name="Set up an app").click()
    code = pyotp.TOTP(await page.locator("form code").inner_text()).now()
    await page.get_by_label("Code of your authenticator app").fill(code)
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator(".codes li")).to_have_count(10)
    await page.get_by_role("button", name="I have kept them").click()
    # The app now shows the screen that the operator opened last.
    await expect(page).to_have_url(re.compile("/control-center/mitras$"))
    await expect(page.get_by_role("heading", name="Mitras")).to_be_visible()
    await expect(page.get_by_role("navigation")).to_be_visible()
    await expect(mocked).to_be_visible()
    assert await violations(page) == []
    # The banner covers nothing: the last button of the navigation is in sight, at the top of the page and below.
    for theme in THEMES:
        await page.emulate_media(color_scheme=theme)
        await expect(page.get_by_role("button", name="Sign out")).to_be_in_viewport(ratio=1)
        await take_picture(page, f"control-center-mocked-en-{theme}")
    await page.goto("/control-center/configuration")
    await page.locator("main input").last.scroll_into_view_if_needed()
    await expect(page.get_by_role("button", name="Sign out")).to_be_in_viewport(ratio=1)
    await expect(mocked).to_be_in_viewport(ratio=1)
    await take_picture(page, "control-center-mocked-en-scrolled")
