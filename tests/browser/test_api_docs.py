"""Test the contract page for developers in a real browser, which applies the Content-Security-Policy."""

import dataclasses

from curhat.app.api_docs import POLICY
from curhat.app.contracts import openapi
from curhat.dev.embedded import EmbeddedServers
from curhat.kit.database import Database
from tests.browser.operators import DESKTOP_SCREEN
from tests.browser.system import System
from tests.browser.test_screens import violations
from tests.support.signed_in import development_settings, free_port, start_server


async def test_the_contract_page_shows_every_operation_with_links_to_data_types(system: System) -> None:
    page = await (await system.context(is_phone=False, language="en", size=DESKTOP_SCREEN)).new_page()
    answer = await page.goto("/api/docs")
    assert answer is not None
    assert answer.headers["content-security-policy"] == POLICY
    operations = [operation for methods in openapi()["paths"].values() for operation in methods.values()]
    assert await page.locator("details").count() == len(operations)
    # Only the style sheet sets a maximum width. The maximum width therefore shows that the Content-Security-Policy has
    # allowed the style sheet.
    assert await page.evaluate("getComputedStyle(document.body).maxWidth") != "none"

    payment = page.locator("details#open_payment")
    await payment.locator("summary").click()
    await payment.get_by_role("link", name="Payment", exact=True).first.click()
    assert page.url.endswith("#Payment")
    assert await page.locator("section:target h3").inner_text() == "Payment"
    # Each link leads to a data type on the page.
    assert await page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].every(a => document.getElementById(a.hash.slice(1)))"
    )
    assert await violations(page) == []


async def test_the_contract_page_does_not_exist_in_production(
    servers: EmbeddedServers, database_url: str, database: Database
) -> None:
    settings = dataclasses.replace(
        development_settings(database_url, servers.valkey_url),
        environment="production",
        code_senders=("sms",),
        operations_port=free_port(),
    )
    async with start_server(settings, database) as opened:
        assert (await opened.http.get("/api/docs")).status_code == 404
