"""Find the problems that large text causes on a page: broken words, and text that is cut off or covered."""

from typing import Final

from playwright.async_api import Page

from tests.browser.system import PHONE

# The narrowest phone, a cheap phone and a wide phone, each with twice the normal text size.
LARGE_TEXT: Final = "document.documentElement.style.fontSize = '200%'"
SIZES: Final = ({"width": 412, "height": 915}, {"width": 320, "height": 568}, PHONE)

# A call name and a display name have at most 40 characters.
LONG_NAME: Final = "Bismillahirrahmanirrahimalhamdulillahxyz"
NAMES: Final = ("Melati", "Mawar", "Anggrek", "Kak Sari", "Kak Budi", "Magdalena")
RENAME: Final = """([names, long]) => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (node.parentElement.closest('.bubble')) continue;
        for (const name of names) node.data = node.data.replaceAll(name, long);
    }
}"""

# The list of chats shows only the beginning of a message, so a message preview is cut off on purpose.
FIND_PROBLEMS: Final = """() => {
    const PREVIEW = '.last';
    const dialogs = document.querySelectorAll('dialog[open]');
    const root = dialogs[dialogs.length - 1] ?? document.body;
    const width = document.documentElement.clientWidth;
    const problems = new Set();
    const describe = (element, text) => `"${text}" in ${element.outerHTML.slice(0, 90)}`;
    const range = document.createRange();
    // This button lies over the messages on purpose, until the person scrolls to the end.
    const JUMP = '.to-end';
    for (const one of root.querySelectorAll(JUMP)) one.style.pointerEvents = 'none';

    const isHit = (element, box) => {
        const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
        return hit !== null && (hit.contains(element) || element.contains(hit));
    };
    const isScrolled = (element) => ['auto', 'scroll'].includes(getComputedStyle(element).overflowY);
    // Whether nothing covers the middle of the box. `measure` returns the box at the present scroll position.
    const isFree = (element, measure) => {
        if (isHit(element, measure())) return true;
        // The middle of the screen may be out of reach at the end of a page.
        return ['center', 'end', 'start'].some((block) => {
            element.scrollIntoView({ block });
            let area = element;
            while (area !== null && !(area.scrollHeight > area.clientHeight && isScrolled(area)))
                area = area.parentElement;
            const { top, bottom } = measure();
            const seen = area?.getBoundingClientRect() ?? { top: 0, bottom: innerHeight };
            (area ?? window).scrollBy(0, (top + bottom - seen.top - seen.bottom) / 2);
            return isHit(element, measure());
        });
    };

    const checkWord = (node, start, word) => {
        const owner = node.parentElement;
        const measure = () => {
            range.setStart(node, start);
            range.setEnd(node, start + word.length);
            return range.getBoundingClientRect();
        };
        const box = measure();
        const lines = new Set([...range.getClientRects()].filter((one) => one.width > 0).map((one) => one.top));
        if (lines.size === 0) return;
        if (owner.closest(PREVIEW)) return;
        if (lines.size > 1) problems.add(`broken: ${describe(owner, word)}`);
        if (box.left < -1 || box.right > width + 1) problems.add(`beside the screen: ${describe(owner, word)}`);
        for (let outer = owner; outer !== null; outer = outer.parentElement) {
            const { overflowX, overflowY } = getComputedStyle(outer);
            const { left, right, top, bottom } = outer.getBoundingClientRect();
            const isCut =
                (overflowX !== 'visible' && (box.left < left - 2 || box.right > right + 2)) ||
                (['hidden', 'clip'].includes(overflowY) && (box.top < top - 2 || box.bottom > bottom + 2));
            if (isCut && outer !== document.documentElement) problems.add(`cut off: ${describe(outer, word)}`);
        }
        if (!isFree(owner, measure)) problems.add(`covered: ${describe(owner, word)}`);
    };

    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (node.parentElement.closest('.unseen, noscript, script, style, textarea')) continue;
        // A word with a hyphen may continue on the next line after the hyphen.
        for (const { 0: word, index } of node.data.matchAll(/[^\\s-]+-?/g)) checkWord(node, index, word);
    }

    const paint = document.createElement('canvas').getContext('2d');
    for (const control of root.querySelectorAll('button, input, textarea, label, a[href]')) {
        if (control.getClientRects().length === 0 || control.matches(`.unseen, label input, ${JUMP}`)) continue;
        const style = getComputedStyle(control);
        const room = control.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
        const text = control.value || control.placeholder;
        paint.font = style.font;
        paint.letterSpacing = style.letterSpacing;
        if (text && paint.measureText(text).width > room + 2 && control.matches('input, textarea:placeholder-shown'))
            problems.add(`cut off: ${describe(control, text)}`);
        if (!isFree(control, () => control.getBoundingClientRect()))
            problems.add(`covered: ${describe(control, control.textContent)}`);
    }

    for (const one of root.querySelectorAll('*')) {
        const { position, pointerEvents } = getComputedStyle(one);
        if (['sticky', 'fixed'].includes(position) && pointerEvents !== 'none' && one.offsetHeight > innerHeight / 2)
            problems.add(`covers half of the screen: ${describe(one, '')}`);
    }
    scrollTo(0, 0);
    return [...problems];
}"""


async def large_text_problems(page: Page) -> list[str]:
    """Show the page with large text on each phone of SIZES. Return a sentence for each problem."""
    problems = []
    await page.evaluate(LARGE_TEXT)
    for size in SIZES:
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        problems += [f"{size['width']} px: {one}" for one in await page.evaluate(FIND_PROBLEMS)]
    return problems


async def use_long_names(page: Page) -> None:
    """Replace each name on the page by the longest possible name, written as one word."""
    await page.evaluate(RENAME, [NAMES, LONG_NAME])
