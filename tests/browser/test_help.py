"""Test that help is one tap away on every screen, without a request and without a network (H.2)."""

import json
from typing import Any

import msgspec
import pytest
from playwright.async_api import Locator, Page, expect

from curhat.content.help_lines import service as help_lines
from tests.browser.mitras import accept_blast, new_mitra, past_chat
from tests.browser.screens import SCREENS
from tests.browser.system import System, json_of, wait_until

HELP = "Butuh bantuan segera?"
# What an open page asks for from time to time, whether somebody opens help or not.
POLLS = ("/mitra-availability", "/state", "/realtime", "/pairings/", "/auth/")

CARD = """
- dialog "Butuh bantuan segera?":
  - heading "Butuh bantuan segera?" [level=2]
  - list:
    - listitem:
      - strong: /Kalau kamu atau orang lain dalam bahaya.*IGD atau puskesmas terdekat/
    - listitem:
      - heading "112" [level=3]
      - paragraph: Keadaan darurat
      - paragraph:
        - link "Telepon 112":
          - /url: tel:112
      - paragraph: Belum di semua daerah · nomor belum kami cek
    - listitem:
      - heading "119 ext 8" [level=3]
      - paragraph: Kesehatan jiwa, pikiran untuk bunuh diri
      - paragraph:
        - link "Telepon 119 ext 8":
          - /url: tel:119,8
        - link "healing119.id":
          - /url: https://healing119.id
      - paragraph: /nomor belum kami cek · Balasan tertulis bisa berjam-jam/
    - listitem:
      - heading "SAPA 129" [level=3]
      - paragraph: Kekerasan terhadap perempuan dan anak
      - paragraph:
        - link "Telepon 129":
          - /url: tel:129
        - link "WhatsApp":
          - /url: https://wa.me/628111129129
      - paragraph: /Indonesia/
    - listitem:
      - heading "JakCare" [level=3]
      - paragraph: Kesehatan jiwa
      - paragraph:
        - link "Telepon 0800-1500-119":
          - /url: tel:08001500119
      - paragraph: Jakarta · 24 jam · gratis · nomor belum kami cek
  - paragraph: Curhat bukan layanan darurat. Kami tidak tahu kalau kamu membuka ini.
  - button "Tutup"
"""


def help_button(page: Page) -> Locator:
    """Find the visible button that opens help."""
    return page.get_by_role("button", name=HELP).last


async def open_and_close_help(page: Page) -> None:
    """Open the card and close it. Fail if the page asks the server for something meanwhile."""
    await page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await help_button(page).click()
    dialog = page.get_by_role("dialog", name=HELP)
    await expect(dialog.get_by_role("link", name="Telepon 112")).to_be_visible()
    await dialog.get_by_role("button", name="Tutup").click()
    await expect(dialog).to_have_count(0)
    await expect(help_button(page)).to_be_focused()
    assert [url for url in asked if not any(poll in url for poll in POLLS)] == []


@pytest.mark.rule("H.2")
@pytest.mark.parametrize(
    "name",
    [
        "01-sign-in",
        "11-home-nobody-there",
        "16-unreachable",
        "30-search",
        "32-waiting-for-bestie",
        "33-choosing-another",
        "48-failure-refunded",
    ],
)
async def test_help_opens_without_a_request(system: System, name: str) -> None:
    async with SCREENS[name](system) as show:
        await open_and_close_help(await show())


@pytest.mark.rule("H.2")
async def test_help_opens_in_chats_without_a_request(system: System) -> None:
    customer = await system.customer()
    mitra = await new_mitra(system)
    async with mitra.socket():
        json_of(await mitra.put("/presence", {"online": True}))
        ended = await past_chat(system, customer, mitra)
        session = await accept_blast(system, customer, mitra)
        for person, base, path in ((customer, "/app", "/chat"), (mitra, "/mitra", f"/chat/{session['id']}")):
            page = await system.page_of(person, base + path)
            await expect(page.get_by_role("button", name="Akhiri")).to_be_visible()
            await open_and_close_help(page)
            for past in ("/history", f"/history/{ended['id']}"):
                await page.goto(base + past)
                await expect(page.get_by_role("button", name="Kembali")).to_be_visible()
                await open_and_close_help(page)
        page = await system.page_of(mitra, "/mitra/")
        await expect(page.get_by_role("switch")).to_be_visible()
        await open_and_close_help(page)


@pytest.mark.rule("H.2")
async def test_a_first_visit_has_the_lines_of_the_release_without_a_network(system: System) -> None:
    page = await (await system.context()).new_page()
    await page.goto("/app/")
    await expect(page.get_by_label("Nomor HP")).to_be_visible()
    await page.context.set_offline(True)
    await help_button(page).click()
    await expect(page.get_by_role("dialog")).to_match_aria_snapshot(CARD)


@pytest.mark.rule("H.1", "H.2")
async def test_the_device_keeps_the_newest_published_lines(system: System) -> None:
    admin_ids = [await _admin(system, number) for number in range(2)]
    items = [msgspec.structs.replace(item, name=f"{item.name} baru") for item in help_lines.shipped_items()]
    async with system.database.transaction() as tx:
        version = await help_lines.propose(tx, admin_ids[0], items)
        await help_lines.publish(tx, admin_ids[1], version)
    page = await (await system.context()).new_page()
    await page.clock.install()
    await page.goto("/mitra/")
    await expect(page.get_by_label("Nomor HP")).to_be_visible()
    await page.clock.fast_forward(20_000)

    async def kept() -> Any:
        return await page.evaluate("localStorage.getItem('curhat-help-1')")

    await wait_until(kept)
    assert json.loads(await kept())["version"] == version
    await page.context.set_offline(True)
    await help_button(page).click()
    await expect(page.get_by_role("heading", name="112 baru")).to_be_visible()


async def _admin(system: System, number: int) -> Any:
    return await system.database.fetchval(
        "INSERT INTO operators (email, role, password_hash) VALUES ($1, 'admin', '-') RETURNING id",
        f"help-{number}@example.id",
    )
