"""Check that every screen is accessible and fits into a small phone, in both themes and languages.

If the variable SCREENSHOTS names a folder (`make screenshots`), the tests save a screenshot of each screen there.
"""

import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Page

from tests.browser.large_text import large_text_problems, use_long_names
from tests.browser.screens import SCREENS, Show
from tests.browser.system import PHONE, Language, System, Theme, wait_until

# Return the app's own words on the page. Words that people have written are left out. All words of the app must be in
# one language.
OUR_WORDS = """() => {
    const copy = document.body.cloneNode(true);
    for (const one of copy.querySelectorAll('noscript, .bubble, textarea, .language, fieldset')) one.remove();
    return copy.innerText;
}"""
INDONESIAN = re.compile(
    r"\b(kamu|yang|belum|sudah|bayar|kode|sisa|dengan|nomor|mencari|pembayaran|riwayat|nama|habis|sedang|sesi|sesimu|koneksi)\b",
    re.IGNORECASE,
)

SMALLEST = {"width": 320, "height": 568}
PICTURES = os.environ.get("SCREENSHOTS")
# The checks use two of the four combinations, so that they cover each theme and each language once. Screenshots show
# all four.
THEMES_AND_LANGUAGES: list[tuple[Theme, Language]] = [("light", "id"), ("dark", "en")]
if PICTURES:
    THEMES_AND_LANGUAGES += [("dark", "id"), ("light", "en")]

# The rules that axe checks in each theme. None means all rules. The dark theme differs from the light theme only in its
# colours.
AXE_RULE: dict[Theme, str | None] = {"light": None, "dark": "color-contrast"}
# The rules of WCAG 2.2 AA and axe's best practices.
AXE = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # Leave out the rules that passed, because they would make up most of the answer.
    "resultTypes": ["violations"],
}

STICKS_OUT = """() => {
    const width = document.documentElement.clientWidth;
    const wide = [...document.querySelectorAll('body *')].filter((one) => {
        const box = one.getBoundingClientRect();
        return box.width > 0 && !one.closest('.unseen') && (box.right > width + 1 || box.left < -1);
    });
    const scrolls = document.documentElement.scrollWidth > width;
    return { scrolls, wide: wide.map((one) => one.outerHTML.slice(0, 120)) };
}"""

NOTHING_STICKS_OUT = {"scrolls": False, "wide": []}

# A target below this size is hard to hit with a thumb.
SMALLEST_TARGET_PX = 44
TARGETS = "button, a[href], textarea, input:not(.unseen), label:has(input)"
TOO_SMALL = """([smallest, targets]) => [...document.querySelectorAll(targets)]
    .filter((one) => {
        const box = one.getBoundingClientRect();
        if (one.matches('input') && one.closest('label')) return false;
        return box.width > 0 && (box.height < smallest || box.width < smallest);
    })
    .map((one) => one.outerHTML.slice(0, 120))"""


async def violations(page: Page, *, only: str | None = None, but: str | None = None) -> list[str]:
    """List axe's violations on a page.

    The argument `only` limits the check to one rule. The argument `but` is a selector of elements that axe ignores.
    """
    options = AXE if only is None else {**AXE, "runOnly": [only]}
    context = None if but is None else {"exclude": [[but]]}
    results: Any = await Axe().run(page, context, options)
    return [
        f"{found['id']}: {node['target']} {node['failureSummary']}"
        for found in results.response["violations"]
        for node in found["nodes"]
    ]


async def take_picture(page: Page, name: str, *, full_page: bool = False) -> None:
    """If PICTURES is set, save a screenshot."""
    if PICTURES:
        folder = Path(PICTURES)
        folder.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=folder / f"{name}.png", full_page=full_page)


async def assert_usable(show: Show, name: str) -> None:
    """Check in each theme and language that a screen is accessible, fits its width, and survives large text.

    Take pictures.
    """
    for theme, language in THEMES_AND_LANGUAGES:
        page = await show(theme=theme, language=language)
        await take_picture(page, f"{name}-{language}-{theme}")
        words = await page.evaluate(OUR_WORDS)
        assert bool(INDONESIAN.search(words)) == (language == "id"), words
        # The browser context requests reduced motion, so every animation should end immediately. Wait until no
        # animation runs.
        await wait_until(partial(page.evaluate, "document.getAnimations().length === 0"))
        assert await violations(page, only=AXE_RULE[theme]) == [], f"{name}, {theme}, {language}"
        assert await page.evaluate(TOO_SMALL, [SMALLEST_TARGET_PX, TARGETS]) == []
        await page.set_viewport_size(SMALLEST)  # type: ignore[arg-type]
        shown = f"{name}, {theme}, {language}"
        assert await page.evaluate(STICKS_OUT) == NOTHING_STICKS_OUT, shown
        problems = await large_text_problems(page)
        await take_picture(page, f"{name}-{language}-{theme}-large", full_page=True)
        assert not problems, "\n".join([shown, *problems])
        await use_long_names(page)
        for size in (PHONE, SMALLEST):
            await page.set_viewport_size(size)  # type: ignore[arg-type]
            assert await page.evaluate(STICKS_OUT) == NOTHING_STICKS_OUT, f"{shown}, large text, long names"
        await page.context.close()


def shown_by(name: str) -> Any:
    """Return the pytest parameter of a screen.

    The parameter of a failure screen also cites the rules about failures.
    """
    return pytest.param(name, marks=pytest.mark.rule("2b.3", "X.1") if "-failure-" in name else ())


@pytest.mark.rule("V.1", "V.7")
@pytest.mark.parametrize("name", [shown_by(name) for name in SCREENS])
async def test_a_screen_is_accessible_in_every_theme_and_language(system: System, name: str) -> None:
    async with SCREENS[name](system) as show:
        await assert_usable(show, name)
