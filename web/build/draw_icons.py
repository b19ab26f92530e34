"""Draw the PNG icons of a client from its icon.svg, with the Chromium of the browser tests. The PNGs are committed.

Usage: .venv/bin/python web/build/draw_icons.py customer mitra
"""

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WEB = Path(__file__).parents[1]
# A phone cuts a maskable icon to the phone's own shape, and may remove a tenth at each side. So the drawing of a
# maskable icon is smaller, and the background fills the sides.
MASKABLE_SCALE = 0.8
CHROMIUM = "/usr/bin/chromium"


def draw(page: Page, folder: Path) -> None:
    """Write the icons of one client into `folder`."""
    svg = (folder / "icon.svg").read_text(encoding="utf-8")
    square = svg.replace(' rx="15"', "")
    for name, picture, size, scale in (
        ("icon-192", svg, 192, 1.0),
        ("icon-512", svg, 512, 1.0),
        ("icon-512-maskable", square, 512, MASKABLE_SCALE),
        ("icon-180", square, 180, 0.9),
    ):
        background = svg.partition('fill="')[2].partition('"')[0] if scale < 1 else "transparent"
        page.set_viewport_size({"width": size, "height": size})
        page.set_content(
            f"<style>body{{margin:0;display:grid;place-items:center;height:100vh;background:{background}}}"
            f"svg{{width:{scale * 100}%;height:{scale * 100}%}}</style>{picture}"
        )
        page.screenshot(path=folder / f"{name}.png", omit_background=True)


def main() -> None:
    """Draw the icons of the clients that the arguments name."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        for client in sys.argv[1:]:
            draw(page, WEB / client / "public" / "icons")
        browser.close()


if __name__ == "__main__":
    main()
