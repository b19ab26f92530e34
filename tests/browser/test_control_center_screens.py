"""Every screen of the Control Center, in both themes and languages, at both widths: usable by everybody.

With SCREENSHOTS naming a folder (`make screenshots`), pictures of all of them go there.
"""

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.desk import DESK, WIDE_DESK, case, chat, desk_of, operator
from tests.browser.house import House, Language, Theme
from tests.browser.test_screens import PICTURES, violations

LOOKS: list[tuple[Theme, Language, dict[str, int]]] = [("light", "id", DESK), ("dark", "en", WIDE_DESK)]
if PICTURES:
    LOOKS += [("dark", "id", WIDE_DESK), ("light", "en", DESK)]


@pytest.mark.rule("V.1")
async def test_every_screen_of_the_control_center_is_usable_by_everybody(house: House) -> None:
    case_id = await case(house)
    operator_id, _ = await operator(house)
    async with chat(house) as (mitra, session):
        row = await house.database.fetchrow(
            "SELECT payment_id, customer_id FROM review_cases JOIN payments ON payments.id = payment_id"
            " WHERE review_cases.id = $1",
            case_id,
        )
        assert row is not None
        paths = {
            "now": "/",
            "cases": "/cases",
            "case": f"/cases/{case_id}",
            "failures": "/failures",
            "payments": "/payments",
            "payment": f"/payments/{row['payment_id']}",
            "sessions": "/sessions",
            "session": f"/sessions/{session['id']}",
            "customers": "/customers",
            "customer": f"/customers/{row['customer_id']}",
            "mitras": "/mitras",
            "mitra": f"/mitras/{mitra.id}",
            "configuration": "/configuration",
            "audit": "/audit",
            "account": "/account",
        }
        for theme, language, size in LOOKS:
            page = await desk_of(house, operator_id, theme=theme, language=language, size=size)
            for name, path in paths.items():
                await page.goto(f"/control-center{path}")
                await expect(page.locator("h1")).to_be_visible()
                await expect(page.locator("table, .facts, form, search").first).to_be_visible()
                await expect(page.locator("[role=status]").filter(has_text="…")).to_have_count(0)
                if name == "now":
                    await expect(page.locator("canvas")).to_have_count(2)
                if PICTURES:
                    folder = Path(os.environ["SCREENSHOTS"])
                    folder.mkdir(parents=True, exist_ok=True)
                    await page.screenshot(path=folder / f"control-center-{name}-{language}-{theme}.png")
                assert await violations(page) == [], f"{name}, {theme}, {language}"
                width = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert width <= 0, f"{name} sticks out at {size['width']} px"
            await page.context.close()


@pytest.mark.rule("V.1")
async def test_the_sign_in_and_the_dialogs_of_the_control_center_are_usable_by_everybody(
    house: House,
) -> None:
    case_id = await case(house)
    operator_id, _ = await operator(house)
    for theme, language, size in LOOKS:
        context = await house.context(theme=theme, language=language, size=size, is_phone=False)
        page = await context.new_page()
        await page.goto("/control-center/")
        await expect(page.locator("input[type=password]")).to_be_visible()
        if PICTURES:
            await page.screenshot(path=Path(PICTURES) / f"control-center-sign-in-{language}-{theme}.png")
        assert await violations(page) == []
        page = await desk_of(
            house, operator_id, f"/cases/{case_id}", theme=theme, language=language, size=size
        )
        await page.locator("textarea").fill("Tidak ada yang datang.")
        await page.locator("form button[type=submit]").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        if PICTURES:
            await page.screenshot(path=Path(PICTURES) / f"control-center-decision-{language}-{theme}.png")
        assert await violations(page) == []
        await page.context.close()
