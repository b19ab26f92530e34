"""Tap several times on every button.

Only the first tap is allowed to press a button. A later tap must not press a button that has just appeared under the
finger.

The test walks from screen to screen, so it also finds buttons that are added later.
"""

import asyncio
import datetime as dt
from dataclasses import dataclass, field

import pytest
from playwright.async_api import BrowserContext, Page, Request

from tests.browser import screens, test_mitra_screens
from tests.browser.screens import Screen
from tests.browser.system import System, take_time

# The delays between the first tap and each later tap.
GAPS_MS = (60, 150, 300)
SETTLED_MS = 1_000

# The walk reaches every screen from these screens.
CUSTOMER_STARTS = (
    "01-sign-in",
    "03-code",
    "20-payment-choose",
    "30-search",
    "33-choosing-another",
    "56-more-time",
    "58-more-time-accept",
    "62-bestie-not-online",
    "70-profile",
)
MITRA_STARTS = (
    "01-sign-in",
    "10-offline",
    "13-cards",
    "17-extension",
    "20-chat",
    "32-past-chat",
    "34-sign-out",
)

# Record each press that reaches the app, with the pressed control and its text.
WATCH = """(() => {
    const numbers = new Map();
    window.reached = [];
    document.addEventListener('click', ({ target, detail }) => {
        const control = target.closest('a[href], button, dialog, label');
        if (control === null || detail === 0) return;
        if (!numbers.has(control)) numbers.set(control, numbers.size);
        const said = [control.ariaLabel ?? control.textContent.trim(), control.ariaChecked, control.ariaBusy];
        window.reached.push(`${numbers.get(control)}: ${said.join(' ')}`);
    }, true);
})()"""
# From now on, the page's clock determines the time between two taps.
HURRY = "delete UIEvent.prototype.timeStamp; dispatchEvent(new Event('pointercancel'))"
# Finds the text and the position of each button that a person can press on the screen or in an open dialog.
BUTTONS = """
    const dialogs = document.querySelectorAll('dialog[open]');
    const root = dialogs[dialogs.length - 1] ?? document.body;
    const place = location.pathname.replace(/[0-9a-f-]{36}/g, '…') + (root.querySelector('h2[id]')?.textContent ?? '');
    const buttons = [...root.querySelectorAll('button:enabled')].filter((one) => one.getClientRects().length > 0);
    const nameOf = (button) => {
        const says = (button.ariaLabel ?? button.textContent).trim().replace(/\\d+/g, '…');
        return `${button.lang && 'language: '}${says} (${place})`;
    };
"""
FIND_BUTTONS = f"() => {{ {BUTTONS} return buttons.map(nameOf); }}"
LOCATE_BUTTON = f"""(name) => {{ {BUTTONS}
    const button = buttons.find((one) => nameOf(one) === name);
    if (button === undefined) return null;
    // The person scrolls to the button.
    dispatchEvent(new Event('wheel'));
    button.scrollIntoView({{ block: 'center' }});
    document.dispatchEvent(new Event('scroll'));
    const {{ left, top, width, height }} = button.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
}}"""


async def watch_presses(device: BrowserContext) -> None:
    """Record the presses, and let the test choose the time between two taps."""
    await take_time(device)
    await device.clock.install()
    await device.add_init_script(WATCH)


@dataclass
class Walk:
    """A walk through the screens of an app. The walk remembers the name and the place of each tried button."""

    tried: set[str] = field(default_factory=set)
    # Maps each button to the buttons that appear when the button is pressed.
    leads_to: dict[str, set[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _running: set[Request] = field(default_factory=set)

    async def start(self, page: Page) -> bool:
        """Stop the clock of the page, and walk from the page's screen until no untried button is reachable.

        Returns whether another walk from this screen can find more buttons.
        """
        self._running.clear()
        page.on("request", self._note_request)
        page.on("requestfinished", self._note_answer)
        page.on("requestfailed", self._note_answer)
        now = await page.evaluate("Date.now()")
        await page.clock.pause_at(dt.datetime.fromtimestamp(now / 1000 + 2, dt.UTC))
        await page.evaluate(HURRY)
        language = await page.evaluate("document.documentElement.lang")
        tried_before = len(self.tried)
        seen: set[str] = set()
        used: set[str] = set()
        # In another language, every button would count as a new button.
        while await page.evaluate("document.documentElement.lang") == language:
            names = await page.evaluate(FIND_BUTTONS)
            seen.update(names)
            untried = seen - self.tried
            # So the walk presses the button that changes the language last.
            ways = sorted(
                (one for one in names if one in untried), key=lambda one: one.startswith("language")
            )
            ways += [
                one
                for one in names
                if one not in used and self.leads_to.get(one, set()) & untried.difference(names)
            ]
            if not ways:
                break
            used.add(ways[0])
            await self._tap(page, ways[0])
            after = set(await page.evaluate(FIND_BUTTONS))
            self.leads_to.setdefault(ways[0], set()).update(after.difference(names))
            seen |= after
        return bool(seen - self.tried) and len(self.tried) > tried_before

    async def _tap(self, page: Page, name: str) -> None:
        """Tap on this button several times, and record whether the taps pressed two different buttons."""
        self.tried.add(name)
        place = None
        # Perhaps the screen is still moving, for example because an outcome disappears.
        while place != (place := await page.evaluate(LOCATE_BUTTON, name)):
            await page.clock.run_for(SETTLED_MS)
        if place is None:
            return
        await page.evaluate("reached.length = 0")
        await page.touchscreen.tap(*place)
        # Test the worst case: the answers to the tap's requests arrive before the next tap.
        await self._wait_for_answers(page)
        passed_ms = 0
        for gap_ms in GAPS_MS:
            await page.clock.run_for(gap_ms - passed_ms)
            passed_ms = gap_ms
            await page.touchscreen.tap(*place)
        reached = await page.evaluate("reached")
        if len(set(reached)) != 1:
            self.problems.append(f"taps on {name} reached {reached}")
        await self._wait_for_answers(page)

    def _note_request(self, request: Request) -> None:
        self._running.add(request)

    def _note_answer(self, request: Request) -> None:
        self._running.discard(request)

    async def _wait_for_answers(self, page: Page) -> None:
        # When this call returns, the browser has reported every request that the last tap caused.
        await page.evaluate("0")
        while self._running:
            await asyncio.sleep(0.01)


async def walk_through(system: System, all_screens: dict[str, Screen], starts: tuple[str, ...]) -> Walk:
    """Walk through an app from each of these screens. Repeat each walk as long as another walk can find new buttons."""
    walk = Walk()
    for name in starts:
        finds_more = True
        while finds_more:
            async with all_screens[name](system) as show:
                page = await show(prepare=watch_presses)
                finds_more = await walk.start(page)
                await page.context.close()
            await system.close()
    return walk


@pytest.mark.rule("V.6")
async def test_a_doubled_tap_in_the_app_of_the_customer_presses_only_the_first_button(
    system: System,
) -> None:
    walk = await walk_through(system, screens.SCREENS, CUSTOMER_STARTS)
    assert walk.problems == []
    assert len(walk.tried) > 30, sorted(walk.tried)


@pytest.mark.rule("V.6")
async def test_a_doubled_tap_in_the_app_of_the_mitra_presses_only_the_first_button(
    system: System,
) -> None:
    walk = await walk_through(system, test_mitra_screens.SCREENS, MITRA_STARTS)
    assert walk.problems == []
    assert len(walk.tried) > 25, sorted(walk.tried)
