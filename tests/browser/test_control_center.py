"""Test the Control Center in a real browser."""

import re
from uuid import UUID

import pyotp
import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.operators import case, chat, control_center_page, operator
from tests.browser.system import System, json_of, wait_until
from tests.support.csv_files import rows_of
from tests.support.signed_in import OPERATOR_PASSWORD


async def _sign_in(page: Page, email: str, code: str | None = None) -> None:
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password").fill(OPERATOR_PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    if code is not None:
        await page.get_by_label("Code of your authenticator app").fill(code)
        await page.get_by_role("button", name="Sign in", exact=True).click()


def _short(entity_id: UUID | str) -> str:
    """Return the last eight characters of an id, because the lists show only these characters."""
    return str(entity_id)[-8:]


async def _decide(page: Page, choice: str, note: str) -> None:
    await page.get_by_role("radio", name=choice).check()
    await page.get_by_label("Note").fill(note)
    await page.get_by_role("button", name="Decide…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Decide").click()


@pytest.mark.rule("S.3")
async def test_an_operator_sets_up_an_authenticator_app_and_signs_in_with_a_code(
    system: System,
) -> None:
    operator_id, email = await operator(system)
    context = await system.context(is_phone=False, language="en", size={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto("/control-center/")
    await _sign_in(page, email)
    await page.get_by_role("link", name="My account").click()
    await page.get_by_role("button", name="Set up an app").click()
    await page.get_by_label("Password", exact=True).fill(OPERATOR_PASSWORD)
    await page.get_by_role("button", name="Set up an app").click()
    await expect(page.get_by_role("img", name="QR code for the authenticator app")).to_be_visible()
    secret = await page.locator("form code").inner_text()
    totp = pyotp.TOTP(secret)
    await page.get_by_label("Code of your authenticator app").fill(totp.now())
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator(".codes li")).to_have_count(10)
    recovery_code = await page.locator(".codes li").first.inner_text()
    await page.get_by_role("button", name="I have kept them").click()
    await expect(page.get_by_text("Recovery codes left: 10")).to_be_visible()
    await page.get_by_role("button", name="Sign out").last.click()

    # The server accepts each one-time code once. Make the server accept the enrolment's code again.
    await system.database.execute("UPDATE operators SET totp_last_step = 0 WHERE id = $1", operator_id)
    await _sign_in(page, email, "000000")
    await expect(page.get_by_role("alert")).to_contain_text("not right")
    await page.get_by_label("Code of your authenticator app").fill(totp.now())
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("navigation")).to_be_visible()
    await page.get_by_role("button", name="Sign out").last.click()

    await _sign_in(page, email)
    await page.get_by_role("button", name="Use a recovery code").click()
    await page.get_by_label("Recovery code").fill(recovery_code)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_text(email)).to_be_visible()


@pytest.mark.rule("X.1")
async def test_an_operator_reads_the_timeline_of_a_case_and_refunds_its_payment(system: System) -> None:
    case_id = await case(system)
    operator_id, email = await operator(system, "reviewer")
    page = await control_center_page(system, operator_id)
    await page.get_by_role("link", name="Review").click()
    await page.get_by_role("link", name=_short(case_id)).click()
    timeline = page.get_by_role("list", name="Timeline")
    for happened in (
        "Payment opened",
        "The gateway answered",
        "Mitra asked",
        "Kak Sari",
        "Customer cancelled",
    ):
        await expect(timeline).to_contain_text(happened)
    await expect(timeline.locator("time").first).to_contain_text("WIB")
    await _decide(page, "Refund Rp20.000", "Nobody came in time.")
    decision = page.get_by_role("region", name="Decision")
    await expect(decision).to_contain_text("done")
    await expect(decision).to_contain_text(email)
    payment_id = await system.database.fetchval("SELECT payment_id FROM review_cases WHERE id = $1", case_id)
    charges = json_of(
        await system.http.get("/api/dev/gateway/charges", params={"payment_id": str(payment_id)})
    )
    assert [refund["amount_rp"] for refund in charges["refunds"]] == [20_000]


async def test_the_loser_of_two_concurrent_decisions_sees_who_decided_first(system: System) -> None:
    """The server refuses the second decision."""
    case_id = await case(system)
    first_id, first_email = await operator(system, "reviewer")
    second_id, _ = await operator(system, "reviewer")
    first = await control_center_page(system, first_id, f"/cases/{case_id}")
    second = await control_center_page(system, second_id, f"/cases/{case_id}")
    await second.get_by_role("radio", name="No refund").check()
    await second.get_by_label("Note").fill("A different view.")
    await second.get_by_role("button", name="Decide…").click()
    # The second operator's page cannot refresh, so the dialog on this page stays open while the first operator decides.
    await second.route("**/api/control-center/review-cases/*", lambda route: route.abort())
    await _decide(first, "Refund Rp20.000", "Nobody came.")
    await expect(first.get_by_role("region", name="Decision")).to_contain_text("refund")
    await second.unroute("**/api/control-center/review-cases/*")
    await second.get_by_role("dialog").get_by_role("button", name="Decide").click()
    alert = second.get_by_role("alert").filter(has_text="has decided this case already")
    await expect(alert).to_contain_text(first_email)
    rows = await system.database.fetch("SELECT decision, decided_by FROM review_cases WHERE id = $1", case_id)
    assert [(row["decision"], row["decided_by"]) for row in rows] == [("refund", first_id)]


# The payment has a late charge. The gateway refused the refund, so the open case now also covers this charge.
LATE_CHARGE = """
WITH late AS (
    INSERT INTO charge_attempts (payment_id, amount_rp, status, answered_at)
    SELECT payment_id, amount_rp, 'approved_late', curhat_now() FROM review_cases WHERE id = $1
    RETURNING id, payment_id, amount_rp
)
INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason, status, answered_at)
SELECT payment_id, id, amount_rp, 'late_approval', 'failed', curhat_now() FROM late
"""


async def test_an_operator_is_told_that_the_case_changed_while_the_dialog_was_open(system: System) -> None:
    """If a case gets another charge after an operator read the case, the server refuses the operator's decision."""
    case_id = await case(system)
    operator_id, _ = await operator(system, "reviewer")
    page = await control_center_page(system, operator_id, f"/cases/{case_id}")
    await page.get_by_role("radio", name="No refund").check()
    await page.get_by_label("Note").fill("Already helped.")
    await page.get_by_role("button", name="Decide…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Rp20.000 is not given back.")
    await system.database.execute(LATE_CHARGE, case_id)
    await expect(page.get_by_text("Refund Rp40.000")).to_be_visible()
    await expect(dialog).to_contain_text("Rp20.000 is not given back.")
    await dialog.get_by_role("button", name="Decide").click()
    await expect(page.get_by_role("alert")).to_contain_text(
        "This case changed while you were deciding: Rp40.000 is in question now."
    )
    await expect(page.get_by_label("Note")).to_have_value("Already helped.")
    await _decide(page, "No refund", "Already helped, twice.")
    await expect(page.get_by_role("region", name="Decision")).to_contain_text("no refund")
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_bulk_decision_names_the_cases_that_changed_after_the_list_was_shown(system: System) -> None:
    changed, same = await case(system), await case(system)
    operator_id, _ = await operator(system, "reviewer")
    page = await control_center_page(system, operator_id, "/cases")
    await page.get_by_label("Tag").select_option("Customer cancelled")
    for case_id in (changed, same):
        await page.get_by_role("checkbox", name=f"Choose {_short(case_id)}").check()
    await system.database.execute(LATE_CHARGE, changed)
    await page.get_by_role("button", name="Decide 2 chosen…").click()
    dialog = page.get_by_role("dialog", name="Decide 2 cases?")
    await dialog.get_by_label("Note").fill("Trouble on Monday.")
    await dialog.get_by_role("button", name="Decide").click()
    await expect(page.get_by_text("1 of 2 cases decided.")).to_be_visible()
    alert = page.get_by_role("alert").filter(has_text="These were not decided:")
    await expect(alert.get_by_role("listitem")).to_have_text(
        [re.compile(f"Review case {_short(changed)}: The money in question changed after you opened it")]
    )


async def test_a_large_refund_needs_two_operators_and_can_be_retried_after_a_refusal(system: System) -> None:
    case_id = await case(system, price_rp=60_000)
    payment_id = await system.database.fetchval("SELECT payment_id FROM review_cases WHERE id = $1", case_id)
    behaviour = {"behaviour": "decline", "payment_id": str(payment_id)}
    json_of(await system.http.put("/api/dev/gateway", json=behaviour))
    asker, colleague, late = [await operator(system, "reviewer") for _ in range(3)]
    page = await control_center_page(system, asker[0], f"/cases/{case_id}")
    await _decide(page, "Refund Rp60.000", "Nobody came.")
    decision = page.get_by_role("region", name="Decision")
    await expect(decision).to_contain_text("You decided this refund: another operator has to approve it.")
    await expect(page.get_by_role("button", name=re.compile("Approve"))).to_have_count(0)

    theirs = await control_center_page(system, colleague[0], f"/cases/{case_id}")
    others = await control_center_page(system, late[0], f"/cases/{case_id}")
    for desk in (theirs, others):
        await desk.get_by_role("button", name="Approve the refund…").click()
    # The page of one operator cannot refresh, so its dialog stays open while another operator approves the refund.
    await others.route("**/api/control-center/review-cases/*", lambda route: route.abort())
    await theirs.get_by_role("dialog").get_by_role("button", name="Approve the refund").click()
    decision = theirs.get_by_role("region", name="Decision")
    await expect(decision).to_contain_text(f"Approved by {colleague[1]}")
    await others.get_by_role("dialog").get_by_role("button", name="Approve the refund").click()
    # The page cannot refresh, so perhaps the page shows an alert about the failed refresh too. The test therefore looks
    # for the text of the expected alert.
    alert = others.get_by_role("alert").filter(has_text="a colleague may have approved it already")
    await expect(alert).to_be_visible()

    await expect(decision).to_contain_text("failed")
    await expect(decision).to_contain_text("refused by the mock gateway")
    json_of(await system.http.put("/api/dev/gateway", json={**behaviour, "behaviour": "approve"}))
    await theirs.get_by_role("button", name="Try the refund again…").click()
    await theirs.get_by_role("dialog").get_by_role("button", name="Try the refund again").click()
    await expect(decision).to_contain_text("done")
    charges = json_of(
        await system.http.get("/api/dev/gateway/charges", params={"payment_id": str(payment_id)})
    )
    assert [(refund["amount_rp"], refund["status"]) for refund in charges["refunds"]][-1] == (60_000, "done")


async def test_large_refunds_of_a_bulk_decision_wait_for_approval(system: System) -> None:
    """An operator decides many cases in one bulk decision."""
    small, large, free = [await case(system, price_rp=price_rp) for price_rp in (20_000, 60_000, 0)]
    operator_id, _ = await operator(system, "reviewer")
    page = await control_center_page(system, operator_id, "/cases")
    await expect(page.get_by_role("link", name=_short(small))).to_be_visible()
    await expect(page.get_by_role("checkbox")).to_have_count(0)
    await page.get_by_label("Tag").select_option("Customer cancelled")
    for case_id in (small, large, free):
        await page.get_by_role("checkbox", name=f"Choose {_short(case_id)}").check()
    await page.get_by_role("button", name="Decide 3 chosen…").click()
    dialog = page.get_by_role("dialog", name="Decide 3 cases?")
    await expect(dialog.get_by_role("radio", name="Refund, Rp80.000 in total")).to_be_checked()
    await expect(dialog.get_by_role("listitem")).to_have_text(
        [
            "2 cases, above the limit in sum: Rp80.000 waits until a second operator approves.",
            "1 case with nothing to refund: left open.",
        ]
    )
    await dialog.get_by_label("Note").fill("Trouble on Monday.")
    await dialog.get_by_role("button", name="Decide").click()
    await expect(page.get_by_text("2 of 3 cases decided.")).to_be_visible()
    alert = page.get_by_role("alert").filter(has_text="These were not decided:")
    await expect(alert.get_by_role("listitem")).to_have_text(
        [f"Review case {_short(free)}: There is nothing to refund: the case stays open."]
    )

    for case_id in (small, large):
        assert await system.database.fetchval(
            "SELECT needs_approval AND approved_by IS NULL FROM review_cases WHERE id = $1", case_id
        )
    assert not await system.database.fetchval(
        "SELECT count(*) FROM refunds WHERE payment_id = (SELECT payment_id FROM review_cases WHERE id = $1)",
        large,
    )
    await page.goto("/control-center/cases?status=decided&awaiting_approval=true")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=_short(large)))
    await expect(row).to_contain_text("awaiting approval")


async def _tab_to(page: Page, wanted: Locator) -> None:
    """Press the Tab key until this element has the focus."""
    await expect(wanted).to_be_visible()
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await wanted.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


@pytest.mark.rule("V.1")
async def test_an_operator_reviews_and_decides_a_case_with_the_keyboard_only(system: System) -> None:
    case_id = await case(system)
    operator_id, _ = await operator(system, "reviewer")
    page = await control_center_page(system, operator_id)
    await _tab_to(page, page.get_by_role("link", name="Review", exact=True))
    await page.keyboard.press("Enter")
    await _tab_to(page, page.get_by_role("link", name=_short(case_id)))
    await page.keyboard.press("Enter")
    # The heading of the new screen has the focus, so Tab continues from the heading.
    await expect(page.get_by_role("heading", name=f"Review case {_short(case_id)}")).to_be_focused()
    await _tab_to(page, page.get_by_role("radio", name="Refund Rp20.000"))
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("radio", name="No refund")).to_be_checked()
    await _tab_to(page, page.get_by_label("Note"))
    await page.keyboard.type("The customer went on without us.")
    await _tab_to(page, page.get_by_role("button", name="Decide…"))
    await page.keyboard.press("Enter")
    # Escape closes the dialog, and the focus returns to the button that opened the dialog.
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("button", name="Decide…")).to_be_focused()
    await page.keyboard.press("Enter")
    await _tab_to(page, page.get_by_role("dialog").get_by_role("button", name="Decide"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("region", name="Decision")).to_contain_text("no refund")
    row = await system.database.fetchrow(
        "SELECT decision, decided_by FROM review_cases WHERE id = $1", case_id
    )
    assert row is not None
    assert tuple(row) == ("no_refund", operator_id)


async def _look_for(page: Page, q: str) -> None:
    await page.get_by_label("Id, phone or name").fill(q)
    await page.keyboard.press("Enter")


async def test_an_operator_finds_a_payment_by_id_or_phone_or_name_or_status(system: System) -> None:
    case_id = await case(system, call_name="Zubaidah")
    row = await system.database.fetchrow(
        "SELECT payments.id, payments.customer_id, phone_number FROM review_cases"
        " JOIN payments ON payments.id = payment_id JOIN people ON people.id = customer_id"
        " WHERE review_cases.id = $1",
        case_id,
    )
    assert row is not None
    operator_id, _ = await operator(system, "viewer")
    page = await control_center_page(system, operator_id, "/payments")
    rows = page.locator("tbody tr")
    link = page.get_by_role("link", name=_short(row["id"]))
    ways = (row["id"], row["customer_id"], case_id, "0" + row["phone_number"].removeprefix("+62"), "zubai")
    for q in map(str, ways):
        await _look_for(page, q)
        await expect(rows).to_have_count(1)
        await expect(link).to_be_visible()
    await page.get_by_label("Status").select_option("served")
    await expect(page.get_by_text("Nothing matches these filters.")).to_be_visible()
    await page.get_by_label("Status").select_option("not served")
    await expect(link).to_be_visible()
    await link.click()
    await expect(page.get_by_role("list", name="Timeline")).to_contain_text("Search ended")
    await expect(page.locator(".facts")).to_contain_text(f"+62 ***-****-{row['phone_number'][-4:]}")
    # The back button returns to the same filtered list.
    await page.go_back()
    await expect(page.get_by_label("Id, phone or name")).to_have_value("zubai")
    await expect(rows).to_have_count(1)

    await page.get_by_role("link", name="Customers").click()
    await _look_for(page, row["phone_number"])
    await expect(rows).to_have_count(1)
    await page.get_by_role("link", name="Zubaidah").click()
    await expect(page.get_by_role("link", name=_short(row["id"]))).to_be_visible()

    async with chat(system) as (mitra, session):
        await page.get_by_role("link", name="Sessions").click()
        for q in (session["id"], str(mitra.id)):
            await _look_for(page, q)
            await expect(rows).to_have_count(1)
            await expect(page.get_by_role("link", name=_short(session["id"]))).to_be_visible()
        await page.get_by_label("Status").select_option("ended")
        await expect(page.get_by_text("Nothing matches these filters.")).to_be_visible()


async def _downloaded(page: Page) -> list[dict[str, str]]:
    async with page.expect_download() as download:
        await page.get_by_role("link", name="CSV").click()
    path = await (await download.value).path()
    return rows_of(path.read_bytes())


async def test_an_operator_exports_the_filtered_rows_of_a_list_and_of_the_audit(system: System) -> None:
    case_id, _ = await case(system), await case(system, call_name="Kenanga")
    operator_id, email = await operator(system, "reviewer")
    other_id, _ = await operator(system, "reviewer")
    page = await control_center_page(system, operator_id, f"/cases/{case_id}")
    await _decide(page, "No refund", "Already helped.")
    await expect(page.get_by_role("region", name="Decision")).to_contain_text("no refund")
    await page.get_by_role("link", name="Review", exact=True).click()
    await page.get_by_label("Status").select_option("decided")
    await page.get_by_label("Tag").select_option("Customer cancelled")
    await expect(page.get_by_role("link", name=_short(case_id))).to_be_visible()
    rows = await _downloaded(page)
    assert {(row["status"], row["tag"]) for row in rows} == {("decided", "customer_cancelled")}
    (own,) = [row for row in rows if row["id"] == str(case_id)]
    assert (own["decision"], own["note"]) == ("no_refund", "Already helped.")
    assert re.fullmatch(r"'\+62 \*\*\*-\*\*\*\*-\d{4}", own["customer_phone_masked"])

    other = await control_center_page(system, other_id, "/failures")
    assert len(await _downloaded(other)) >= 2
    await page.get_by_role("link", name="Audit").click()
    await page.get_by_label("Who (e-mail)").fill(email)
    await page.keyboard.press("Enter")
    entries = page.locator("tbody tr")
    await expect(entries).to_have_count(2)
    await expect(entries.nth(0)).to_contain_text("List exported")
    await expect(entries.nth(0)).to_contain_text("Status: decided, Tag: Customer cancelled")
    await page.get_by_label("Action").select_option("Case decided")
    await expect(entries).to_have_count(1)
    await expect(entries).to_contain_text(f"Review case {_short(case_id)}")
    assert [(row["actor_email"], row["action"], row["new_value"]) for row in await _downloaded(page)] == [
        (email, "case_decided", "no_refund")
    ]
    await page.get_by_label(re.compile("^About")).select_option("Mitra")
    await expect(page.get_by_text("Nothing matches these filters.")).to_be_visible()


async def test_a_changed_search_time_applies_to_the_next_search(system: System) -> None:
    operator_id, email = await operator(system)
    page = await control_center_page(system, operator_id, "/configuration")
    row = page.get_by_role("region", name="Search time")
    await expect(row).to_contain_text("10 to 600 seconds")
    await expect(row).to_contain_text("Default: 60 seconds")
    other = await control_center_page(system, operator_id, "/configuration")
    others_row = other.get_by_role("region", name="Search time")
    await expect(others_row.get_by_label("Search time")).to_have_value("60")
    await row.get_by_label("Search time").fill("90")
    await row.get_by_role("button", name="Save…").click()
    await expect(page.get_by_role("dialog")).to_contain_text("from 60 seconds to 90 seconds")
    await page.get_by_role("dialog").get_by_role("button", name="Change").click()
    await expect(row.get_by_role("button", name="Save…")).to_be_disabled()
    await row.get_by_text("History").click()
    await expect(row.get_by_role("listitem").first).to_contain_text("60 seconds → 90 seconds")
    customer = await system.customer()
    async with system.mitra():
        pairing = await system.search(customer)
    seconds = await system.database.fetchval(
        "SELECT extract(epoch FROM deadline_at - created_at) FROM pairings WHERE id = $1", UUID(pairing["id"])
    )
    assert round(seconds) == 90

    # The screen of the second operator still shows the old value. The attempt to save changes nothing, and the screen
    # shows the new value.
    await others_row.get_by_label("Search time").fill("120")
    await others_row.get_by_role("button", name="Save…").click()
    await other.get_by_role("dialog").get_by_role("button", name="Change").click()
    await expect(others_row.get_by_role("alert")).to_contain_text("it is now 90 seconds")
    await expect(others_row.get_by_role("alert")).to_contain_text(email)


@pytest.mark.rule("S.2")
async def test_an_admin_invites_a_mitra_and_then_changes_the_name_and_capacity_of_the_mitra(
    system: System,
) -> None:
    operator_id, _ = await operator(system)
    page = await control_center_page(system, operator_id, "/mitras")
    await page.get_by_role("button", name="Invite a mitra…").click()
    dialog = page.get_by_role("dialog", name="Invite a mitra")
    phone, name = dialog.get_by_label("Phone number"), dialog.get_by_label("Name that customers see")
    capacity = dialog.get_by_label("Customers at once")
    invite = dialog.get_by_role("button", name="Invite")
    await phone.fill("0812")
    await name.fill("Kak Tari")
    await capacity.fill("30")
    await invite.click()
    # The dialog shows each error below its field.
    await expect(capacity).to_have_accessible_description("Type a whole number from 1 to 20.")
    await expect(name).to_have_accessible_description("")
    await capacity.fill("2")
    await invite.click()
    await expect(phone).to_have_accessible_description(re.compile("This number is not right yet"))
    await expect(capacity).to_have_accessible_description("")
    await phone.fill("0811 7000 4321")
    await invite.click()
    await expect(page.get_by_text("Invited. The mitra signs in with this number.")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="Kak Tari")
    await expect(row).to_contain_text("0 / 2")

    await page.get_by_role("button", name="Invite a mitra…").click()
    await phone.fill("+62 811 7000 4321")
    await name.fill("Kak Lain")
    await invite.click()
    alert = dialog.get_by_role("alert")
    await expect(alert).to_contain_text("already that of the mitra Kak Tari. Nothing was changed.")
    await alert.get_by_role("link", name="Open Kak Tari").click()

    heading = page.get_by_role("heading", level=1)
    await expect(heading).to_have_text("Kak Tari")
    capacity = page.get_by_label("Customers at once")
    await page.get_by_label("Name that customers see").fill("Kak Tari Dewi")
    await capacity.fill("0")
    await page.get_by_role("button", name="Save").click()
    await expect(capacity).to_have_accessible_description("Type a whole number from 1 to 20.")
    await expect(heading).to_have_text("Kak Tari")
    await capacity.fill("5")
    await page.get_by_role("button", name="Save").click()
    await expect(heading).to_have_text("Kak Tari Dewi")
    mitras = await system.database.fetch(
        "SELECT display_name, max_customers FROM mitras JOIN people USING (id)"
        " WHERE phone_number = '+6281170004321'"
    )
    assert [tuple(mitra) for mitra in mitras] == [("Kak Tari Dewi", 5)]


@pytest.mark.rule("S.3")
async def test_an_operator_signs_out_an_old_device_from_a_new_device(system: System) -> None:
    _, email = await operator(system, "viewer")
    pages = []
    for _ in range(2):
        context = await system.context(is_phone=False, language="en", size={"width": 1280, "height": 800})
        pages.append(await context.new_page())
        await pages[-1].goto("/control-center/")
        await _sign_in(pages[-1], email)
        await expect(pages[-1].get_by_role("navigation")).to_be_visible()
    here, there = pages
    await here.get_by_role("link", name="My account").click()
    devices = here.get_by_role("row").filter(has_text="127.0.0.1")
    await expect(devices).to_have_count(2)
    await expect(devices.filter(has_text="this one")).to_contain_text("Chrome, Linux")
    await devices.get_by_role("button", name="Sign out").click()
    await expect(devices).to_have_count(1)
    await there.get_by_role("link", name="Payments").click()
    await expect(there.get_by_label("Password")).to_be_visible()
    await here.get_by_role("link", name="Payments").click()
    await expect(here.get_by_role("heading", name="Payments")).to_be_visible()


@pytest.mark.rule("S.3")
async def test_an_operator_changes_the_first_password_and_then_signs_a_customer_out(system: System) -> None:
    operator_id, email = await operator(system, "reviewer")
    await system.database.execute(
        "UPDATE operators SET must_change_password = true WHERE id = $1", operator_id
    )
    customer = await system.customer("Melati")
    context = await system.context(is_phone=False, language="en", size={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto(f"/control-center/customers/{customer.id}")
    await _sign_in(page, email)
    await expect(page.get_by_text("Somebody else has seen your first password.")).to_be_visible()
    await page.get_by_label("Present password").fill(OPERATOR_PASSWORD)
    await page.get_by_label("New password").fill("password1234")
    await page.get_by_role("button", name="Change the password").click()
    await expect(page.get_by_text("that nobody guesses")).to_be_visible()
    await page.get_by_label("New password").fill("payung kuning di loteng")
    await page.get_by_role("button", name="Change the password").click()
    devices = page.get_by_role("region", name="Signed in on").get_by_role("row")
    await devices.get_by_role("button", name="Sign out").click()
    await page.get_by_role("dialog").get_by_role("button", name="Sign out").click()
    await expect(page.get_by_text("Signed in nowhere.")).to_be_visible()
    assert (await customer.get("/me")).status_code == 401


async def test_a_suspended_mitra_stays_disconnected_until_an_operator_lifts_the_suspension(
    system: System,
) -> None:
    operator_id, _ = await operator(system)
    async with chat(system, display_name="Kak Wulan") as (mitra, session):
        page = await control_center_page(system, operator_id, "/mitras")
        await page.get_by_role("link", name="Kak Wulan").click()
        await page.get_by_role("button", name="Suspend…").click()
        await page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
        await expect(page.get_by_label("Why?")).to_have_accessible_description(re.compile("Say why"))
        await page.get_by_label("Why?").fill("Rude to a customer")
        await page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
        await expect(page.get_by_text("Suspended since")).to_be_visible()
        await expect(page.get_by_text("“Rude to a customer”")).to_be_visible()
        session_id = UUID(session["id"])

        async def is_ended() -> bool:
            reason = await system.database.fetchval(
                "SELECT end_reason FROM sessions WHERE id = $1", session_id
            )
            return bool(reason == "mitra_suspended")

        await wait_until(is_ended)
        assert (await mitra.get("/state")).status_code in (401, 403)
        await page.get_by_role("button", name="Lift the suspension…").click()
        await page.get_by_role("dialog").get_by_role("button", name="Lift").click()
        await expect(page.get_by_text("Suspended since")).to_have_count(0)


async def test_an_operator_must_give_an_audited_reason_to_read_a_chat(system: System) -> None:
    operator_id, email = await operator(system, "reviewer")
    async with chat(system) as (_, session):
        page = await control_center_page(system, operator_id, f"/sessions/{session['id']}")
        await expect(page.get_by_text("The chat is hidden.")).to_be_visible()
        await page.get_by_role("button", name="Show the chat…").click()
        await page.get_by_role("dialog").get_by_role("button", name="Show").click()
        await expect(page.get_by_role("alert")).to_contain_text("Something is missing or not right")
        # Without a report, a concern or a case, the operator names a legal order, or waits for a second operator (P.8).
        await page.get_by_label("Reason").fill("The court asks")
        await page.get_by_role("dialog").get_by_role("combobox").select_option("true")
        await page.get_by_role("dialog").get_by_role("button", name="Show").click()
        await expect(page.get_by_text("Aku lagi capek banget.")).to_be_visible()
    await page.get_by_role("link", name="Audit").click()
    entry = page.get_by_role("row").filter(has_text="Chat shown").filter(has_text=email)
    await expect(entry).to_contain_text("The court asks")


async def test_a_viewer_sees_everything_and_can_decide_nothing(system: System) -> None:
    case_id = await case(system)
    operator_id, _ = await operator(system, "viewer")
    page = await control_center_page(system, operator_id, f"/cases/{case_id}")
    await expect(page.get_by_role("list", name="Timeline")).to_be_visible()
    await expect(page.get_by_role("button", name=re.compile("Decide"))).to_have_count(0)
    await page.get_by_role("link", name="Configuration").click()
    await expect(page.get_by_role("region", name="Search time")).to_be_visible()
    await expect(page.get_by_role("button", name=re.compile("Save"))).to_have_count(0)
    await page.get_by_role("link", name="Mitras").click()
    await expect(page.get_by_role("heading", name="Mitras")).to_be_visible()
    await expect(page.get_by_role("button", name=re.compile("Invite"))).to_have_count(0)
    # No pairing has failed on the next day, so the screen says that the list is empty.
    await system.advance_clock(24 * 3600)
    page = await control_center_page(system, operator_id)
    await expect(page.get_by_text("No failures today.")).to_be_visible()


async def test_the_dashboard_shows_a_new_search_without_a_reload(system: System) -> None:
    operator_id, _ = await operator(system, "viewer")
    page = await control_center_page(system, operator_id)
    await expect(page.get_by_text("Nobody is searching.")).to_be_visible()
    customer = await system.customer("Kenanga")
    async with system.mitra():
        await system.search(customer)
        await expect(page.get_by_role("link", name="Kenanga")).to_be_visible()
    await wait_until(lambda: _has_rows(page))


async def _has_rows(page: Page) -> bool:
    """Return whether the charts' tables for screen readers have all rows: 24 hours and 30 days."""
    return await page.locator(".unseen tbody tr").count() == 54


@pytest.mark.rule("X.12")
async def test_an_operator_finds_a_payment_by_its_reference_and_refunds_a_part_of_it(system: System) -> None:
    case_id = await case(system)
    payment_id = await system.database.fetchval("SELECT payment_id FROM review_cases WHERE id = $1", case_id)
    operator_id, _ = await operator(system, "reviewer")
    page = await control_center_page(system, operator_id, "/audit")
    await expect(page.get_by_role("heading", name="Audit")).to_be_visible()
    await page.keyboard.press("/")
    box = page.get_by_role("combobox", name="Find")
    await expect(box).to_be_focused()
    reference = payment_id.hex[-8:].upper()
    await page.keyboard.type(f"{reference[:4]} {reference[4:].lower()}")
    option = page.get_by_role("option")
    await expect(option.filter(has_text="Melati")).to_have_count(1)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name=f"Payment {reference}")).to_be_visible()
    await page.get_by_role("link", name="Case: open").click()
    await page.get_by_role("radio", name="Refund", exact=False).first.check()
    amount = page.get_by_label("Amount to refund")
    await amount.fill("20001")
    assert await amount.evaluate("field => field.validity.rangeOverflow")
    await amount.fill("5000")
    await page.get_by_label("Note").fill("Half of it was our fault.")
    await page.get_by_role("button", name="Decide…").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Rp5.000")
    await page.get_by_role("dialog").get_by_role("button", name="Decide").click()
    await expect(page.get_by_role("region", name="Decision")).to_contain_text("done")
    await expect(page.get_by_role("table", name="All payments of this session")).to_contain_text("Rp15.000")
    charges = json_of(
        await system.http.get("/api/dev/gateway/charges", params={"payment_id": str(payment_id)})
    )
    assert [refund["amount_rp"] for refund in charges["refunds"]] == [5_000]


@pytest.mark.rule("X.12")
async def test_an_operator_decides_all_cases_that_match_a_filter_in_a_few_clicks(system: System) -> None:
    cases = [await case(system) for _ in range(2)]
    operator_id, _ = await operator(system, "reviewer")
    open_cases = await system.database.fetchrow(
        "SELECT count(DISTINCT review_cases.id), sum(undelivered_charges.amount_rp) AS amount_rp"
        " FROM review_cases LEFT JOIN undelivered_charges"
        " ON undelivered_charges.payment_id = review_cases.payment_id AND decided_round IS NULL"
        " WHERE status = 'open' AND reason = 'no_session'"
    )
    assert open_cases is not None
    page = await control_center_page(system, operator_id, "/cases?status=open&reason=no_session")
    await page.get_by_role("button", name="Decide all that match…").click()
    dialog = page.get_by_role("dialog", name=f"Decide all {open_cases[0]} cases that match?")
    amount = f"Rp{open_cases['amount_rp']:,}".replace(",", ".")
    await expect(dialog).to_contain_text(f"A refund of all gives back {amount}.")
    await dialog.get_by_role("radio", name="No refund").check()
    await dialog.get_by_label("Note").fill("The network failed last night.")
    await dialog.get_by_role("button", name="Decide").click()
    await expect(page.get_by_text(f"{open_cases[0]} of {open_cases[0]} cases decided.")).to_be_visible()
    decided = await system.database.fetchval(
        "SELECT count(*) FROM review_cases WHERE decision = 'no_refund' AND id = ANY ($1)", cases
    )
    assert decided == 2


@pytest.mark.rule("S.5")
async def test_an_admin_hands_a_link_over_and_the_invited_operator_signs_in_with_it(system: System) -> None:
    operator_id, _ = await operator(system)
    page = await control_center_page(system, operator_id, "/team")
    await page.get_by_role("button", name="Invite an operator…").click()
    await page.get_by_label("E-mail").fill("tari@example.id")
    await page.get_by_label("Role").select_option("reviewer")
    await page.get_by_role("button", name="Make a link").click()
    address = await page.locator("dialog code").inner_text()
    await page.get_by_role("button", name="Done").click()
    row = page.get_by_role("row").filter(has_text="tari@example.id")
    await expect(row).to_contain_text("waiting for the link")

    context = await system.context(is_phone=False, language="en", size={"width": 1280, "height": 800})
    invited = await context.new_page()
    await invited.goto(address)
    await invited.get_by_label("Your password").fill("short")
    await invited.get_by_role("button", name="Save and go on").click()
    await expect(invited.get_by_label("Your password")).to_have_accessible_description(re.compile("12"))
    await invited.get_by_label("Your password").fill("teapot lighthouse nine")
    await invited.get_by_role("button", name="Save and go on").click()
    await expect(invited.get_by_text("tari@example.id")).to_be_visible()
    assert "#" not in invited.url
    await invited.goto(address)
    await invited.get_by_label("Your password").fill("teapot lighthouse nine")
    await invited.get_by_role("button", name="Save and go on").click()
    await expect(invited.get_by_role("alert")).to_contain_text("does not work any more")


async def test_an_operator_sorts_a_list_saves_its_filters_and_moves_with_the_keyboard(system: System) -> None:
    first = await case(system, call_name="Tunjung Awal")
    await case(system, call_name="Tunjung Akhir")
    operator_id, _ = await operator(system, "viewer")
    page = await control_center_page(system, operator_id, "/payments?q=Tunjung&purpose=session")
    await expect(page.get_by_role("status").filter(has_text="2 payments · Rp40.000")).to_be_visible()
    await expect(page.locator("tbody tr").first).to_contain_text("Tunjung Akhir")
    await page.get_by_role("columnheader", name="Opened").get_by_role("button").click()
    await expect(page.locator("tbody tr").first).to_contain_text("Tunjung Awal")
    assert "order=oldest" in page.url

    await page.get_by_role("button", name="Save these filters…").click()
    await page.get_by_role("dialog").get_by_label("Name").fill("Lost")
    await page.get_by_role("dialog").get_by_role("button", name="Save").click()
    await page.goto("/control-center/payments")
    await page.get_by_label("Saved filters").select_option("Lost")
    await page.wait_for_url("**/payments?*order=oldest*")
    assert "purpose=session" in page.url
    # A searched word can be a phone number or a name. It does not stay on the device.
    assert "Tunjung" not in page.url

    await page.goto("/control-center/payments?q=Tunjung&order=oldest")
    await expect(page.locator("tbody tr").first).to_contain_text("Tunjung Awal")
    await page.get_by_role("heading", name="Payments").focus()
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    payment_id = await system.database.fetchval("SELECT payment_id FROM review_cases WHERE id = $1", first)
    await page.wait_for_url(f"**/payments/{payment_id}")


async def test_the_figures_lead_to_their_lists_and_a_chart_tells_its_values_by_keyboard(
    system: System,
) -> None:
    await case(system)
    operator_id, _ = await operator(system, "viewer")
    page = await control_center_page(system, operator_id)
    chart = page.get_by_role("slider", name="Last 24 hours, by hour (WIB)")
    await chart.press("ArrowLeft")
    await expect(chart).to_have_attribute("aria-valuenow", "22")
    await expect(chart).to_have_attribute("aria-valuetext", re.compile("Opened 0 · Confirmed 0"))
    await page.get_by_role("link", name="Customer cancelled").click()
    await expect(page.locator("tbody tr").first).to_contain_text("Customer cancelled")
    assert "tag=customer_cancelled" in page.url


@pytest.mark.rule("S.6")
async def test_a_reviewer_asks_what_another_search_time_would_have_brought(system: System) -> None:
    await case(system)
    operator_id, _ = await operator(system, "reviewer")
    page = await control_center_page(system, operator_id, "/configuration")
    what_if = page.get_by_role("region", name="What if?")
    await what_if.get_by_role("button", name="Replay").click()
    await expect(what_if.get_by_role("alert")).to_contain_text("Fill in what to change")
    await what_if.get_by_label("Blast, seconds").fill("120")
    await what_if.get_by_role("button", name="Replay").click()
    await expect(what_if.get_by_role("row").filter(has_text="Served")).to_be_visible()
    await expect(what_if.get_by_text("Estimated:")).to_be_visible()
