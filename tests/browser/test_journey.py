"""Test the customer's journey in a real browser. The mitras act through the API."""

import os
import re
import signal

import pytest
import valkey.asyncio
from playwright.async_api import Locator, Page, expect

from tests.browser.system import System, json_of, wait_until
from tests.support.server import Person, Socket
from tests.support.signed_in import problem

FOCUSED_BUTTON = """() => {
    const one = document.activeElement;
    return one.matches('button') ? one.innerText || one.ariaLabel : '';
}"""


def button(page: Page, name: str) -> Locator:
    """Find a button by its exact name."""
    return page.get_by_role("button", name=name, exact=True)


async def accept(mitra: Person, socket: Socket) -> str:
    """Accept the next request as this mitra, and return the id of the new session."""
    card = await socket.wait_for("request.offered")
    session_id: str = json_of(await mitra.post(f"/requests/{card['id']}/accept"))["session"]["id"]
    return session_id


async def pay(page: Page, minutes: str = "30 menit", label: str = "Bayar Rp20.000") -> None:
    """Press the call to action, choose an offer, and pay. The search then starts."""
    await button(page, "Curhat").click()
    await page.get_by_text(minutes).click()
    await button(page, "Lanjut").click()
    await button(page, label).click()


@pytest.mark.rule("1.4", "2a.2", "2a.8", "2b.1", "2b.2", "2b.5", "2c.1", "V.1", "V.2", "V.3")
async def test_a_customer_goes_from_the_call_to_action_to_the_chat_and_the_history(system: System) -> None:
    customer = await system.customer("Melati")
    async with (
        system.mitra("Kak Sari") as (sari, sari_socket),
        system.mitra("Kak Budi") as (budi, budi_socket),
    ):
        page = await system.page_of(customer)
        await button(page, "Curhat").click()
        tiers = ("5 menit.*Gratis.*Rp0", "15 menit.*Rp10.000", "30 menit.*Rp20.000", "60 menit.*Rp35.000")
        await expect(page.locator("label")).to_have_text([re.compile(tier) for tier in tiers])
        await page.get_by_text("30 menit").click()
        await button(page, "Lanjut").click()
        await expect(page.locator(".total")).to_have_text("Rp20.000")
        await expect(page.get_by_role("timer", name="Selesaikan dalam")).to_have_text(
            re.compile(r"^(20:00|19:5\d)$")
        )
        await button(page, "Bayar Rp20.000").click()
        await expect(page.get_by_role("heading", name="Mencari bestie…")).to_be_visible()
        await expect(page.get_by_role("timer", name="Sisa waktu mencari")).to_have_text(
            re.compile(r"^(1:00|0:5\d)$")
        )
        card = await budi_socket.wait_for("request.offered")
        session_id = await accept(sari, sari_socket)
        late = await budi.post(f"/requests/{card['id']}/accept")
        assert late.json()["code"] == "already_taken"

        await expect(page.get_by_role("heading", name="Kak Sari")).to_be_visible()
        await expect(page).to_have_url(f"{system.url}/app/chat")
        await page.get_by_label("Tulis pesan").fill("Halo Kak, boleh cerita?")
        await button(page, "Kirim").click()
        await expect(page.locator(".mine")).to_contain_text("Halo Kak, boleh cerita?")
        heard = await sari_socket.wait_for("message.created", sender="customer")
        await expect(page.locator("[data-mark=sent]")).to_be_visible()
        json_of(await sari.post(f"/sessions/{session_id}/read", {"up_to_message_id": heard["id"]}, key=""))
        await expect(page.locator("[data-mark=read]")).to_be_visible()
        await sari_socket.connection.send(
            f'{{"op": "signal", "type": "typing", "session_id": "{session_id}"}}'
        )
        await expect(page.get_by_text("Kak Sari sedang mengetik…")).to_be_visible()
        said = {"client_message_id": "1", "text": "Boleh sekali. Pelan-pelan saja."}
        answered = json_of(await sari.post(f"/sessions/{session_id}/messages", said, key=""))
        await expect(page.locator(".theirs p")).to_have_text("Boleh sekali. Pelan-pelan saja.")
        assert (await sari_socket.wait_for("messages.read", reader="customer"))[
            "up_to_message_id"
        ] == answered["id"]

        await button(page, "Akhiri").click()
        await button(page, "Ya, akhiri").click()
        await expect(page.get_by_text("Kamu mengakhiri sesi ini.")).to_be_visible()
        assert (await sari_socket.wait_for("session.ended"))["end_reason"] == "customer_ended"
        await expect(page.locator(".theirs p")).to_have_text("Boleh sekali. Pelan-pelan saja.")
        await button(page, "Beranda").click()
        await button(page, "Riwayat").click()
        row = page.get_by_role("button", name=re.compile("Baca curhat dengan Kak Sari"))
        await expect(row).to_contain_text(re.compile(r"\d{1,2} \w+ \d{4}, \d\d\.\d\d WIB"))
        await row.click()
        await expect(page.get_by_text("Halo Kak, boleh cerita?")).to_be_visible()


@pytest.mark.rule("X.4")
async def test_each_message_has_its_own_text_direction_and_an_invisible_message_cannot_be_sent(
    system: System,
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        for number, text in enumerate(("Halo!", "مرحبا!")):
            said = {"client_message_id": str(number), "text": text}
            json_of(await mitra.post(f"/sessions/{session['id']}/messages", said, key=""))
        page = await system.page_of(customer, "/app/chat")
        await expect(page.get_by_text("Halo!")).to_have_css("direction", "ltr")
        await expect(page.get_by_text("مرحبا!")).to_have_css("direction", "rtl")
        await page.get_by_label("Tulis pesan").fill("\u3164\u200b")
        await expect(button(page, "Kirim")).to_be_disabled()


@pytest.mark.rule("2a.3")
async def test_a_trial_has_the_same_steps_as_a_paid_chat(system: System) -> None:
    """The app says that the trial is free."""
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        page = await system.page_of(customer)
        await button(page, "Curhat").click()
        await expect(page.get_by_role("radio")).to_have_count(4)
        await page.get_by_text("5 menit", exact=False).first.click()
        await expect(page.locator("label.chosen")).to_contain_text("Gratis")
        await expect(page.locator("label.chosen")).to_contain_text("Rp0")
        await button(page, "Lanjut").click()
        await expect(page.locator(".total")).to_have_text("Gratis")
        await button(page, "Mulai sesi gratisku").click()
        await accept(mitra, socket)
        await expect(page.get_by_role("heading", name="Kak Sari")).to_be_visible()
        await button(page, "Akhiri").click()
        await button(page, "Ya, akhiri").click()
        await button(page, "Beranda").click()
        await button(page, "Curhat").click()
        await expect(page.get_by_role("radio")).to_have_count(3)
        await expect(page.get_by_text("Gratis")).to_have_count(0)


@pytest.mark.rule("1.7", "1.8", "2b.2")
async def test_a_customer_opens_and_confirms_a_payment_only_while_a_mitra_is_available(
    system: System,
) -> None:
    """The payment screen says that no mitra is available before the customer presses the button."""
    customer = await system.customer()
    async with system.mitra() as (mitra, _):
        page = await system.page_of(customer)
        await button(page, "Curhat").click()
        await page.get_by_text("30 menit").click()
        await mitra.put("/presence", {"online": False})
        await button(page, "Lanjut").click()
        await expect(page.get_by_role("alert")).to_have_text(
            "Belum ada bestie tersedia. Tidak ada uang yang diambil."
        )
        await mitra.put("/presence", {"online": True})
        await button(page, "Lanjut").click()
        await expect(page.locator(".total")).to_have_text("Rp20.000")
        await mitra.put("/presence", {"online": False})
        await expect(button(page, "Bayar Rp20.000")).to_be_disabled(timeout=10_000)
        await expect(page.get_by_text("Kamu bisa lanjut begitu ada yang siap.")).to_be_visible()
        await mitra.put("/presence", {"online": True})
        await expect(button(page, "Bayar Rp20.000")).to_be_enabled(timeout=10_000)
        await button(page, "Bayar Rp20.000").click()
        await expect(page.get_by_role("timer", name="Sisa waktu mencari")).to_have_text(
            re.compile(r"^(1:00|0:5\d)$")
        )


@pytest.mark.rule("1.6", "X.10")
@pytest.mark.invariant(11)
async def test_a_chat_continues_but_no_payment_is_charged_while_presence_is_unknown(
    system: System, valkey_client: valkey.asyncio.Valkey
) -> None:
    waiting, talking = await system.customer(), await system.customer("Mawar")
    async with system.mitra() as (mitra, socket):
        session = await system.chat(talking, mitra, socket)
        payment = await system.open_payment(waiting)
        chat, pay = await system.page_of(talking, "/app/chat"), await system.page_of(waiting, "/app/payment")
        home = await system.page_of(await system.customer("Kenanga"))
        await expect(chat.get_by_label("Tulis pesan")).to_be_visible()
        await expect(button(home, "Curhat")).to_be_enabled()
        server_id = (await valkey_client.info("server"))["process_id"]
        os.kill(server_id, signal.SIGSTOP)
        try:
            refused = await waiting.post(f"/payments/{payment['id']}/confirm")
            assert problem(refused) == (503, "presence_unknown")
            await expect(button(pay, "Bayar Rp20.000")).to_be_disabled(timeout=10_000)
            await expect(pay.get_by_text("Tidak ada uang yang diambil")).to_be_visible()
            await chat.get_by_label("Tulis pesan").fill("Masih di sini?")
            await button(chat, "Kirim").click()
            await expect(chat.locator("[data-mark=sent]")).to_be_visible()
            await expect(button(home, "Curhat")).to_be_disabled()
            await expect(home.get_by_text("Belum ada bestie tersedia")).to_be_visible()
        finally:
            os.kill(server_id, signal.SIGCONT)
        charges = await system.http.get("/api/dev/gateway/charges", params={"payment_id": payment["id"]})
        assert json_of(charges)["charges"] == []
        said = json_of(await mitra.get(f"/sessions/{session['id']}/messages"))["items"]
        assert [message["text"] for message in said] == ["Masih di sini?"]

        async def is_known() -> bool:
            return bool((await system.http.get("/api/client/mitra-availability")).json()["available"])

        await wait_until(is_known)
        await expect(button(pay, "Bayar Rp20.000")).to_be_enabled(timeout=10_000)
        await button(pay, "Bayar Rp20.000").click()
        await expect(pay.get_by_role("heading", name="Mencari bestie…")).to_be_visible()


@pytest.mark.rule("2a.4", "V.3")
async def test_a_customer_can_leave_the_payment_screen_and_continue_the_payment_later(system: System) -> None:
    customer = await system.customer()
    async with system.mitra():
        page = await system.page_of(customer)
        await button(page, "Curhat").click()
        await page.get_by_text("30 menit").click()
        await button(page, "Lanjut").click()
        await expect(page.locator(".total")).to_have_text("Rp20.000")
        await button(page, "Kembali").click()
        await expect(page.get_by_role("heading", name="Pembayaranmu belum selesai")).to_be_visible()
        await expect(button(page, "Curhat")).to_have_count(0)
        await page.reload()
        await button(page, "Lanjutkan pembayaran").click()
        await expect(page.locator(".total")).to_have_text("Rp20.000")
        await button(page, "Pilih durasi lain").click()
        await expect(page.get_by_role("radio").first).to_be_visible()
        states = await system.database.fetch(
            "SELECT status FROM payments WHERE customer_id = $1", customer.id
        )
        assert [row["status"] for row in states] == ["abandoned"]


@pytest.mark.rule("2a.5")
async def test_the_app_says_that_the_customer_was_not_charged_for_an_expired_payment(system: System) -> None:
    customer = await system.customer()
    async with system.mitra():
        await system.open_payment(customer)
        page = await system.page_of(customer, "/app/payment")
        await expect(page.locator(".total")).to_be_visible()
        await system.advance_clock(20 * 60 + 1)
        await expect(page.get_by_text("Tidak ada uang yang diambil.")).to_be_visible()
        await page.reload()
        await expect(page.get_by_text("Waktu pembayaran habis")).to_be_visible()
        await button(page, "Mulai lagi").click()
        await expect(button(page, "Curhat")).to_be_visible()


@pytest.mark.rule("2a.6", "2a.7")
async def test_the_app_handles_a_declined_payment_and_a_slow_payment(system: System) -> None:
    """The customer can retry a declined payment. The app waits for a slow payment."""
    customer = await system.customer()
    async with system.mitra():
        payment = await system.open_payment(customer)
        behaviour = {"behaviour": "decline", "payment_id": payment["id"]}
        json_of(await system.http.put("/api/dev/gateway", json=behaviour))
        page = await system.page_of(customer, "/app/payment")
        await button(page, "Bayar Rp20.000").click()
        await expect(page.get_by_role("alert")).to_contain_text("Tidak ada uang yang diambil")
        json_of(await system.http.put("/api/dev/gateway", json=behaviour | {"behaviour": "slow"}))
        await button(page, "Bayar Rp20.000").click()
        await expect(page.get_by_text("Jangan bayar lagi")).to_be_visible()
        await page.reload()
        await expect(page.get_by_text("Jangan bayar lagi")).to_be_visible()
        await expect(page.get_by_role("heading", name="Mencari bestie…")).to_be_visible(timeout=30_000)
        charges = json_of(
            await system.http.get("/api/dev/gateway/charges", params={"payment_id": payment["id"]})
        )
        assert [charge["status"] for charge in charges["charges"]] == ["declined", "approved"]


@pytest.mark.rule("2b.3", "2b.4", "2b.9", "X.1")
@pytest.mark.parametrize(
    ("tag", "sentence"),
    [
        ("no_mitra_available", "belum ada bestie yang menerima"),
        ("all_mitras_rejected", "Semua bestie yang kami tanya sedang tidak bisa"),
        ("customer_cancelled", "Kamu berhenti mencari"),
    ],
)
async def test_the_app_explains_cause_and_refund_and_next_step_after_a_failed_search(
    system: System, tag: str, sentence: str
) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        page = await system.page_of(customer)
        await pay(page)
        card = await socket.wait_for("request.offered")
        if tag == "no_mitra_available":
            await system.advance_clock(61)
        elif tag == "all_mitras_rejected":
            json_of(await mitra.post(f"/requests/{card['id']}/reject"))
        else:
            await button(page, "Berhenti mencari").click()
            await expect(page.get_by_role("dialog")).to_contain_text("Rp20.000 sudah kamu bayar")
            await button(page, "Ya, berhenti").click()
        for _ in range(2):
            await expect(page.get_by_text(sentence)).to_be_visible()
            await expect(page.get_by_text("Rp20.000 yang kamu bayar aman tercatat")).to_be_visible()
            await expect(page.get_by_text("Kamu bisa mencoba lagi dari beranda")).to_be_visible()
            await page.reload()
        await button(page, "Ke beranda").click()
        await expect(button(page, "Curhat")).to_be_visible()
        await page.get_by_text("Pembayaranmu Rp20.000 sedang kami periksa").click()
        await expect(page.get_by_text("Tidak menemukan bestie")).to_be_visible()
        await expect(page.get_by_text("Rp20.000 yang kamu bayar aman tercatat")).to_be_visible()


@pytest.mark.rule("V.3")
async def test_a_second_phone_shows_every_step_of_the_first_phone(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        first, second = await system.page_of(customer), await system.page_of(customer)
        await button(first, "Curhat").click()
        await first.get_by_text("15 menit").click()
        await button(first, "Lanjut").click()
        await expect(second.get_by_role("heading", name="Pembayaranmu belum selesai")).to_be_visible()
        await button(second, "Lanjutkan pembayaran").click()
        await button(second, "Bayar Rp10.000").click()
        await expect(first.get_by_role("heading", name="Mencari bestie…")).to_be_visible()
        session_id = await accept(mitra, socket)
        for page in (first, second):
            await expect(page).to_have_url(f"{system.url}/app/chat")
        await first.get_by_label("Tulis pesan").fill("Dari HP pertama")
        await button(first, "Kirim").click()
        await expect(second.locator(".mine p")).to_have_text("Dari HP pertama")
        json_of(await mitra.post(f"/sessions/{session_id}/end", {"reason": "Listrik padam"}))
        for page in (first, second):
            await expect(page.get_by_text("Bestie mengakhiri sesi lebih awal.")).to_be_visible()


@pytest.mark.rule("V.3", "V.2", "X.8")
async def test_the_app_uses_the_clock_of_the_server_to_warn_before_a_chat_ends(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        await system.chat(customer, mitra, socket)
        page = await system.page_of(customer)
        await expect(page).to_have_url(f"{system.url}/app/chat")
        await expect(page.get_by_text("Waktunya hampir habis")).to_have_count(0)
        await system.advance_clock(26 * 60)
        await page.reload()
        await expect(page.get_by_text("Waktunya hampir habis")).to_be_visible()
        await expect(page.get_by_role("timer", name="Sisa waktu")).to_have_text(re.compile(r"^[34]:\d\d$"))
        await system.advance_clock(5 * 60)
        await expect(page.get_by_text("Waktunya habis. Terima kasih sudah bercerita.")).to_be_visible()
        await page.reload()
        await expect(page.get_by_text("Waktunya habis. Terima kasih sudah bercerita.")).to_be_visible()


@pytest.mark.rule("2b.1")
async def test_a_customer_reaches_the_search_with_the_keyboard_only(system: System) -> None:
    customer = await system.customer()
    async with system.mitra():
        page = await system.page_of(customer)
        await expect(button(page, "Curhat")).to_be_enabled()

        async def tab_to(name: str, key: str = "Enter") -> None:
            heard: list[str] = []
            for _ in range(12):
                await page.keyboard.press("Tab")
                said = await page.evaluate(FOCUSED_BUTTON)
                heard.append(said)
                if name in said:
                    break
            else:
                raise AssertionError(f"{name} cannot be reached with Tab, but {heard}")
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            await page.keyboard.press(key)

        await tab_to("Curhat")
        await expect(page.get_by_role("radio").first).to_be_visible()
        await page.keyboard.press("Tab")  # A new screen moves the focus to its heading.
        await page.keyboard.press("ArrowDown")
        await expect(page.locator("label.chosen")).to_contain_text("15 menit")
        await tab_to("Lanjut")
        await expect(page.get_by_role("heading", name="Ringkasan")).to_be_focused()
        await tab_to("Bayar")
        await expect(page.get_by_role("heading", name="Mencari bestie…")).to_be_focused()
        await tab_to("Berhenti mencari")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(button(page, "Berhenti mencari")).to_be_focused()


@pytest.mark.rule("S.1", "X.4")
async def test_a_new_customer_signs_up_with_a_call_name_and_a_code_from_the_inbox(system: System) -> None:
    page = await (await system.context()).new_page()
    await page.goto("/app/")
    await page.get_by_text("Nomor contoh 1").click()
    await button(page, "Kirim kode").click()
    code = await page.get_by_text("Kotak masuk: kodenya").inner_text()
    await page.get_by_label("Kode dari pesan").fill("000000" if "000000" not in code else "111111")
    await expect(page.get_by_role("alert")).to_contain_text("Kodenya salah")
    await button(page, "Isi kode").click()
    await page.get_by_label("Nama panggilan").fill("hubungi 081234567890")
    await button(page, "Mulai").click()
    await expect(page.get_by_role("alert")).to_contain_text("tidak boleh memuat nomor HP")
    await page.get_by_label("Nama panggilan").fill("Tim Curhat")
    await button(page, "Mulai").click()
    await expect(page.get_by_role("alert")).to_contain_text("mirip nama layanan")
    await page.get_by_label("Nama panggilan").fill("Kenanga")
    await button(page, "Mulai").click()
    await expect(page.get_by_text("Hai, Kenanga")).to_be_visible()
    await expect(page.get_by_role("heading", name="Lagi butuh teman curhat?")).to_be_focused()
    assert "curhat_customer" not in await page.evaluate("document.cookie")
    await page.reload()
    await button(page, "Profil").click()
    await expect(page.get_by_text(re.compile(r"^\+62 \*+"))).to_be_visible()
    await page.get_by_label("Nama panggilan").fill("Kenanga Putih")
    await button(page, "Simpan").click()
    await expect(page.get_by_text("Nama panggilan disimpan")).to_be_visible()
    await page.get_by_text("English").click()
    await expect(page.get_by_role("heading", name="Profile")).to_be_visible()
    await page.get_by_text("Dark", exact=True).click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await button(page, "Sign out").click()
    await page.get_by_role("dialog").get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Phone number")).to_be_visible()
    assert [cookie for cookie in await page.context.cookies() if cookie["name"] == "curhat_customer"] == []


@pytest.mark.rule("S.4")
@pytest.mark.parametrize("path", ["/app/", "/mitra/"])
async def test_the_app_shows_no_development_tools_when_the_server_has_no_inbox(
    system: System, path: str
) -> None:
    page = await (await system.context()).new_page()
    # A production server has no inbox, and answers such a request with 404.
    await page.route("**/api/dev/**", lambda route: route.fulfill(status=404, body="{}"))
    async with page.expect_response("**/api/dev/**"):
        await page.goto(path)
    await page.get_by_label("Nomor HP").fill(f"0812 999 0000{len(path)}")
    await expect(page.locator(".demo")).to_have_count(0)
    async with page.expect_response("**/api/dev/**"):
        await button(page, "Kirim kode").click()
    await expect(page.get_by_label("Kode dari pesan")).to_be_visible()
    await expect(page.locator(".demo")).to_have_count(0)


async def test_the_app_shows_the_sign_in_screen_when_the_token_was_revoked(system: System) -> None:
    customer = await system.customer()
    page = await system.page_of(customer)
    await expect(page.get_by_text("Hai, Melati")).to_be_visible()
    await system.database.execute(
        "DELETE FROM access_tokens WHERE user_id = $1 AND transport = 'cookie'", customer.id
    )
    await page.reload()
    await expect(page.get_by_label("Nomor HP")).to_be_visible()
    assert await page.evaluate("localStorage.getItem('curhat:customer')") is None


async def test_a_customer_cannot_open_the_chat_url_of_another_customer(system: System) -> None:
    customer, other = await system.customer(), await system.customer("Mawar")
    async with system.mitra() as (mitra, socket):
        session = await system.chat(customer, mitra, socket)
        page = await system.page_of(other, f"/app/history/{session['id']}")
        await expect(page.get_by_text("Belum ada riwayat")).to_be_visible()


async def test_opening_the_app_shows_the_running_journey(system: System) -> None:
    customer = await system.customer()
    async with system.mitra() as (mitra, socket):
        await system.search(customer)
        page = await system.page_of(customer)
        await expect(page.get_by_role("heading", name="Mencari bestie…")).to_be_visible()
        await button(page, "Beranda").click()
        await expect(button(page, "Lihat pencarian")).to_be_visible()
        # The customer chose to go to the home screen, so a reload stays on the home screen.
        await page.reload()
        await expect(button(page, "Lihat pencarian")).to_be_visible()
        await accept(mitra, socket)
        await expect(page).to_have_url(f"{system.url}/app/chat")
        await expect(page.get_by_text("Kamu terhubung dengan Kak Sari")).to_be_visible()
