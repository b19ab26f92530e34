"""Check that each screen and dialog of the Control Center is accessible in both themes, both widths and both languages.

If the variable SCREENSHOTS names a folder (`make screenshots`), the test saves a screenshot of each screen there.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pyotp
import pytest
from playwright.async_api import Page, expect

from curhat.content.help_lines import service as help_lines
from tests.browser.operators import DESKTOP_SCREEN, WIDE_SCREEN, case, chat, operator, sign_in_operator
from tests.browser.past_month import past_month
from tests.browser.system import Language, System, Theme, json_of, wait_until
from tests.browser.test_screens import INDONESIAN, PICTURES, violations
from tests.support.server import Person
from tests.support.signed_in import OPERATOR_PASSWORD
from tests.support.texts import publish_drafts

# The last day is closed, and the books differ about one payment.
BOOKS = """
WITH closed AS (
    INSERT INTO closed_days (day, charges, charged_rp, refunds, refunded_rp, differences, invariants_checked,
        broken_invariants)
    VALUES ((curhat_now() + interval '1 day')::date, 412, 8130000, 9, 180000, 1, 52, '{}')
), told AS (
    UPDATE review_cases SET reason = 'books_differ' WHERE payment_id = $1
)
INSERT INTO book_differences (key, day, about, payment_id, our_status, our_rp, gateway_status, gateway_rp)
SELECT id, (curhat_now() + interval '1 day')::date, 'charge', payment_id, status, amount_rp, NULL, NULL
FROM charge_attempts WHERE payment_id = $1
"""

# Show each theme at each width.
COMBINATIONS: dict[Language, list[tuple[Theme, dict[str, int]]]] = {
    "id": [("light", DESKTOP_SCREEN), ("dark", WIDE_SCREEN)],
    "en": [("dark", DESKTOP_SCREEN), ("light", WIDE_SCREEN)],
}
# In the first theme, axe checks all rules (None). In the second theme, axe checks only the colours, because the other
# rules do not depend on the theme. The tool axe runs at the smaller width.
AXE_RULE: dict[tuple[Language, Theme], str | None] = {("id", "light"): None, ("en", "dark"): "color-contrast"}
# All rows of a table have the same structure, so axe checks only the first five rows.
MORE_ROWS = "tbody tr:nth-child(n+6)"

# Words inside quotation marks were written by people. All other words are the app's own words and must be in one
# language.
QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"")
ENGLISH = re.compile(
    r"\b(the|this|of|and|from|with|has|not|payment|customer|refund|search|review|decided|opened|asked|waiting)\b",
    re.IGNORECASE,
)
# A part of a screen that names its language shows a text in this language, whatever the language of the operator is.
OWN_WORDS = """() => [...document.querySelectorAll('section[lang], td[lang]')].reduce(
    (words, part) => words.replace(part.innerText, ''), document.body.innerText)"""
# Codes of the contract match this pattern. A screen must never show a code of the contract.
RAW_CODE = re.compile(r"\b[a-z]+_[a-z_]+\b")

# Adds a late charge to the payment. The gateway refused the refund of this charge. The late charge with the refused
# refund opens the decided case again.
FURTHER_CHARGE = """
WITH late AS (
    INSERT INTO charge_attempts (payment_id, amount_rp, status, answered_at)
    VALUES ($1, 20000, 'approved_late', curhat_now()) RETURNING id, payment_id, amount_rp
), refused AS (
    INSERT INTO refunds (payment_id, charge_attempt_id, amount_rp, reason, status, answered_at)
    SELECT payment_id, id, amount_rp, 'late_approval', 'failed', curhat_now() FROM late RETURNING payment_id
)
UPDATE review_cases SET status = 'open', reason = 'refund_failed' FROM refused
WHERE review_cases.payment_id = refused.payment_id
"""


# Two more reports: a colleague wants to suspend the mitra for good, and a customer appeals against a warning.
REPORTS = """
INSERT INTO reports (session_id, customer_id, mitra_id, reporter, reason, note, urgency, due_at, status, decision,
    decision_note, decided_by, decided_at, closed_at, appeal_text, appealed_at)
SELECT id, customer_id, mitra_id, 'customer', 'threat', 'Dia mengancam.', 0, curhat_now() + interval '9 minutes',
    'awaiting_approval', 'suspend', 'Ancamannya jelas.', $2::uuid, curhat_now(), NULL::timestamptz, NULL,
    NULL::timestamptz
FROM sessions WHERE id = $1
UNION ALL (
    SELECT id, customer_id, mitra_id, 'mitra', 'insult', NULL, 1, curhat_now() + interval '3 days', 'appealed', 'warn',
        'Kasar.', $2::uuid, curhat_now(), curhat_now(), 'Itu bercanda.', curhat_now()
    FROM sessions WHERE id <> $1 ORDER BY id LIMIT 1
)
RETURNING id
"""


@dataclass(frozen=True)
class Records:
    """The operator who decided the cases, and the paths of the screens."""

    operator_id: UUID
    path_of: dict[str, str]


async def _decide(system: System, case_id: UUID, operator_id: UUID, note: str = "Sesuai aturan.") -> None:
    body = {"decision": "refund", "note": note}
    json_of(
        await (await sign_in_operator(system, operator_id)).post(f"/review-cases/{case_id}/decision", body)
    )


async def _make_records(system: System, session_id: str, mitra: Person) -> Records:
    """Create cases in each state, with their refunds and with audit entries."""
    operator_id, _ = await operator(system)
    colleague_id, _ = await operator(system, "reviewer")
    await past_month(system)
    cases = {
        "open": await case(system),
        "large": await case(system, price_rp=60_000, call_name="Kenanga"),
        "trial": await case(system, price_rp=0, call_name="Anggrek"),
        "awaiting": await case(system, price_rp=60_000, call_name="Mawar"),
        "refused": await case(system, price_rp=35_000, call_name="Cempaka"),
        "again": await case(system, call_name="Dahlia"),
    }
    payments = {
        row["case_id"]: row
        for row in await system.database.fetch(
            "SELECT review_cases.id AS case_id, payments.id, payments.customer_id"
            " FROM review_cases JOIN payments ON payments.id = payment_id"
        )
    }
    payment_id = payments[cases["refused"]]["id"]
    behaviour = {"behaviour": "decline", "payment_id": str(payment_id)}
    json_of(await system.http.put("/api/dev/gateway", json=behaviour))
    await _decide(system, cases["awaiting"], colleague_id)
    await _decide(system, cases["again"], colleague_id)
    await system.database.execute(FURTHER_CHARGE, payments[cases["again"]]["id"])
    await _decide(system, cases["refused"], colleague_id)

    async def is_refused() -> bool:
        return bool(await system.database.fetchval("SELECT count(*) FROM refunds WHERE status = 'failed'"))

    await wait_until(is_refused)
    admin = await sign_in_operator(system, operator_id)
    row = json_of(await admin.get("/configuration"))["items"][0]
    change = {"value": 90, "expected_updated_at": row["updated_at"]}
    json_of(await admin.put(f"/configuration/{row['key']}", change))
    messages = json_of(await mitra.get(f"/sessions/{session_id}/messages"))["items"]
    marked = {"reason": "danger", "note": "Dia sendirian.", "message_ids": [messages[0]["id"]]}
    report = json_of(await mitra.post(f"/sessions/{session_id}/report", marked))
    concern = json_of(await mitra.post(f"/sessions/{session_id}/concern", {"level": "danger_now"}))
    await system.database.execute(
        "UPDATE reports SET due_at = curhat_now() - interval '5 minutes' WHERE id = $1", UUID(concern["id"])
    )
    awaiting, appealed = [
        row["id"] for row in await system.database.fetch(REPORTS, UUID(session_id), colleague_id)
    ]
    json_of(await admin.post(f"/sessions/{session_id}/transcript", {"reason": "Keluhan pelanggan"}))
    exported = await admin.get("/review-cases", format="csv", status="open", tag="customer_cancelled")
    assert exported.is_success
    suspended_id = await system.make.mitra("Kak Lestari", online=False)
    await system.database.execute(BOOKS, payments[cases["large"]]["id"])
    json_of(await admin.patch(f"/mitras/{suspended_id}", {"suspended": True, "reason": "Kasar."}))
    question = {"blast_timeout_seconds": 30, "extra_mitras": {"count": 2, "from_hour": 20, "to_hour": 23}}
    what_if_id = json_of(await admin.post("/what-if", question))["id"]
    async with system.database.transaction() as tx:
        await help_lines.publish_shipped(tx)
        # A colleague called the line 112, added an hour, and removed JakCare.
        step, emergency, *lines = help_lines.shipped_items()
        called = msgspec.structs.replace(emergency, hours=lines[-1].hours, verified_at=datetime.now(UTC))
        await help_lines.propose(tx, colleague_id, [step, called, *lines[:-1]])

    async def is_replayed() -> bool:
        return bool(json_of(await admin.get(f"/what-if/{what_if_id}"))["status"] == "done")

    await wait_until(is_replayed)
    await publish_drafts(system.database)
    path_of = {
        "now": "/",
        "cases": "/cases",
        "case": f"/cases/{cases['open']}",
        "case-books": f"/cases/{cases['large']}",
        "case-awaiting": f"/cases/{cases['awaiting']}",
        "case-refused": f"/cases/{cases['refused']}",
        "case-again": f"/cases/{cases['again']}",
        "reports": "/reports",
        "report": f"/reports/{report['id']}",
        "report-concern": f"/reports/{concern['id']}",
        "report-awaiting": f"/reports/{awaiting}",
        "report-appealed": f"/reports/{appealed}",
        "failures": "/failures",
        "payments": "/payments",
        "payment": f"/payments/{payment_id}",
        "sessions": "/sessions",
        "session": f"/sessions/{session_id}",
        "customers": "/customers",
        "customer": f"/customers/{payments[cases['open']]['customer_id']}",
        "mitras": "/mitras",
        "mitra": f"/mitras/{mitra.id}",
        "mitra-answers": "/mitras/answers",
        "help-lines": "/help-lines",
        "team": "/team",
        "mitra-suspended": f"/mitras/{suspended_id}",
        "configuration": "/configuration",
        "texts": "/texts",
        "text": "/texts/terms",
        "audit": "/audit",
        "account": "/account",
        "nothing-found": "/payments?q=nobody",
        "nothing-there": "/nowhere",
    }
    return Records(operator_id, path_of)


# Each function performs a step on its screen. Each step opens a dialog or shows a result.


async def _search(page: Page) -> None:
    await page.keyboard.press("/")
    await page.keyboard.type("mela")
    await expect(page.get_by_role("option").first).to_be_visible()


async def _nothing_found(page: Page) -> None:
    await page.keyboard.press("/")
    await page.keyboard.type("0812 0000 9999")
    await expect(page.locator(".search [role=status]")).not_to_be_empty()


async def _complaint(page: Page) -> None:
    await page.locator("td button").first.click()
    await page.locator("dialog textarea").fill("Bestie diam saja.")


async def _reason(page: Page) -> None:
    await page.keyboard.press("Escape")
    await _asked(page)


async def _all_cases(page: Page) -> None:
    await page.locator(".head button").click()
    await page.locator("dialog textarea").fill("Gangguan semalam.")


async def _bulk(page: Page) -> None:
    await page.keyboard.press("Escape")
    await page.locator("search select").nth(1).select_option("customer_cancelled")
    await page.locator("thead input[type=checkbox]").check()
    await page.locator(".head button").click()
    await page.locator("dialog textarea").fill("Gangguan kemarin.")


async def _decision(page: Page) -> None:
    await page.locator("textarea").fill("Tidak ada yang datang.")
    await page.locator("form button[type=submit]").click()


async def _asked(page: Page) -> None:
    """Press the screen's last button. The button opens the only dialog."""
    await page.locator("section button, form .danger, form button.secondary").last.click()


async def _report_decision(page: Page) -> None:
    await page.locator("input[value=suspend]").check()
    await page.locator("form textarea").fill("Jelas melanggar.")
    await page.locator("form button[type=submit]").click()


async def _report_appeal(page: Page) -> None:
    await page.locator("form textarea").fill("Sudah benar.")
    await page.locator("form button[type=submit]").click()


async def _report_approval(page: Page) -> None:
    await page.locator("section .danger").first.click()


async def _configuration(page: Page) -> None:
    row = page.locator("#extension_timeout_seconds")
    await row.locator("summary").click()
    await row.locator("input").fill("15")
    await row.locator("button[type=submit]").click()


async def _history(page: Page) -> None:
    await page.locator("#pairing_blast_timeout_seconds summary").click()
    await expect(page.locator("#pairing_blast_timeout_seconds li")).to_have_count(1)


async def _invitation(page: Page) -> None:
    await page.locator(".head button").click()
    fields = page.locator("dialog input")
    await fields.nth(0).fill("0813 9000 0025")
    await fields.nth(1).fill("Kak Sari")
    await fields.nth(2).fill("30")
    await page.locator("dialog button[type=submit]").click()
    await expect(page.locator("dialog [role=alert]")).to_have_count(2)


async def _invited_already(page: Page) -> None:
    await page.locator("dialog input").nth(2).fill("3")
    await page.locator("dialog button[type=submit]").click()
    await expect(page.locator("dialog a")).to_be_visible()


async def _help_approval(page: Page) -> None:
    await page.locator("section button").first.click()
    await expect(page.get_by_role("dialog")).to_be_visible()


async def _help_editor(page: Page) -> None:
    await page.keyboard.press("Escape")
    await page.locator(".head button").click()
    await page.locator("fieldset input").first.fill("")
    await page.locator("button[type=submit]").click()
    await expect(page.get_by_role("alert")).to_be_visible()


async def _operator_invitation(page: Page) -> None:
    await page.locator(".head button").click()
    await page.locator("dialog input").fill(f"{uuid4().hex}@example.id")
    await page.locator("dialog select").select_option("reviewer")


async def _operator_link(page: Page) -> None:
    await page.locator("dialog button[type=submit]").click()
    await expect(page.locator("dialog code")).to_contain_text("/control-center/welcome#")


async def _keys(page: Page) -> None:
    await page.keyboard.press("j")
    await expect(page.locator("tbody tr").first.locator("a").first).to_be_focused()
    await page.keyboard.press("?")


async def _transcript(page: Page) -> None:
    await page.locator("dialog textarea").fill("Keluhan pelanggan")
    await page.locator("dialog button[type=submit]").click()
    await expect(page.locator(".said")).to_be_visible()


async def _enrolment(page: Page) -> None:
    await page.locator("section button").first.click()


async def _secret(page: Page) -> None:
    await page.locator("section form input").first.fill(OPERATOR_PASSWORD)
    await page.locator("section form button").first.click()
    await expect(page.locator("svg.qr")).to_be_visible()


async def _recovery_codes(page: Page) -> None:
    code = pyotp.TOTP(await page.locator("form code").inner_text()).now()
    await page.locator("section form input").first.fill(code)
    await page.locator("section form button").first.click()
    await expect(page.locator(".codes li")).to_have_count(10)


async def _new_text(page: Page) -> None:
    await page.locator(".head button").click()
    await expect(page.locator("textarea").first).to_have_value(re.compile("Ketentuan Curhat"))


async def _publication(page: Page) -> None:
    await page.locator("textarea").first.fill("# Ketentuan Curhat\n\nBaru.")
    await page.locator("form button[type=submit]").click()


STEPS = {
    "now": {"now-search": _search},
    "customers": {"now-search-nothing": _nothing_found},
    "cases": {"cases-all": _all_cases, "cases-bulk": _bulk},
    "case": {"case-decision": _decision},
    "case-awaiting": {"case-approval": _asked},
    "report": {"report-decision": _report_decision, "report-phone": _reason},
    "report-awaiting": {"report-approval": _report_approval},
    "report-appealed": {"report-appeal": _report_appeal},
    "customer": {"customer-suspension": _report_approval},
    "case-refused": {"case-retry": _asked},
    "configuration": {"configuration-history": _history, "configuration-change": _configuration},
    "payments": {"payments-keys": _keys},
    "text": {"text-new": _new_text, "text-publication": _publication},
    "help-lines": {"help-lines-approval": _help_approval, "help-lines-editor": _help_editor},
    "team": {"team-invitation": _operator_invitation, "team-link": _operator_link},
    "mitras": {"mitras-invitation": _invitation, "mitras-invited-already": _invited_already},
    "mitra": {"mitra-suspension": _asked},
    "mitra-suspended": {"mitra-lifting": _asked},
    "session": {
        "session-complaint": _complaint,
        "session-reason": _reason,
        "session-transcript": _transcript,
    },
    "account": {
        "account-enrolment": _enrolment,
        "account-secret": _secret,
        "account-recovery-codes": _recovery_codes,
    },
}


# These steps open no dialog.
WITHOUT_DIALOG = (
    "account",
    "session-transcript",
    "configuration-history",
    "now-search",
    "text-new",
    "help-lines-editor",
)


async def _walk(system: System, records: Records, language: Language) -> AsyncIterator[tuple[str, Page]]:
    """Open the screens and dialogs one after another. Yields the name and the page of each screen and dialog."""
    context = await system.context(is_phone=False, language=language, size=DESKTOP_SCREEN)
    page = await context.new_page()
    await page.goto("/control-center/")
    await expect(page.locator("input[type=password]")).to_be_visible()
    yield "sign-in", page
    await page.goto("/control-center/welcome#secret")
    await expect(page.locator("input[type=password]")).to_be_visible()
    yield "welcome", page
    await page.goto("/control-center/")
    # Use a new operator for each language. The operator sets up an authenticator app, and later signs in with a code.
    _, email = await operator(system)
    await page.locator("input[type=email]").fill(email)
    await page.locator("input[type=password]").fill("not the password")
    await page.locator("button[type=submit]").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    yield "sign-in-refused", page
    await page.locator("input[type=password]").fill(OPERATOR_PASSWORD)
    await page.locator("button[type=submit]").click()
    await expect(page.locator("nav")).to_be_visible()
    for name, path in records.path_of.items():
        await page.goto(f"/control-center{path}")
        await expect(page.locator("h1")).to_be_visible()
        if name != "nothing-there":
            await expect(page.locator("table, .facts, form, search").first).to_be_visible()
        await expect(page.locator("[role=status]").filter(has_text="…")).to_have_count(0)
        if name == "now":
            await expect(page.locator("canvas")).to_have_count(2)
        yield name, page
        for step, do in STEPS.get(name, {}).items():
            await do(page)
            if not step.startswith(WITHOUT_DIALOG):
                await expect(page.get_by_role("dialog")).to_be_visible()
            yield step, page
    await page.context.clear_cookies()
    await page.goto("/control-center/")
    await page.locator("input[type=email]").fill(email)
    await page.locator("input[type=password]").fill(OPERATOR_PASSWORD)
    await page.locator("button[type=submit]").click()
    await expect(page.locator("input[autocomplete=one-time-code]")).to_be_visible()
    yield "sign-in-code", page


@pytest.mark.rule("V.1")
async def test_every_screen_and_dialog_of_the_control_center_is_accessible(system: System) -> None:
    problems = []
    async with chat(system) as (mitra, session):
        records = await _make_records(system, session["id"], mitra)
        for language, looks in COMBINATIONS.items():
            async for name, page in _walk(system, records, language):
                words = QUOTED.sub("", await page.evaluate(OWN_WORDS))
                other = (INDONESIAN if language == "en" else ENGLISH).findall(words)
                problems += [f"{name}, {language}: {word}" for word in {*other, *RAW_CODE.findall(words)}]
                for theme, size in looks:
                    await page.emulate_media(color_scheme=theme)
                    await page.set_viewport_size(size)  # type: ignore[arg-type]
                    await expect(page.locator("html")).to_have_attribute("data-theme", theme)
                    if PICTURES:
                        Path(PICTURES).mkdir(parents=True, exist_ok=True)
                        await page.screenshot(
                            path=Path(PICTURES) / f"control-center-{name}-{language}-{theme}.png"
                        )
                    if (language, theme) in AXE_RULE:
                        rule = AXE_RULE[language, theme]
                        found = await violations(page, only=rule, but=MORE_ROWS)
                        problems += [f"{name}, {theme}, {size['width']} px: {one}" for one in found]
                    if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                        problems.append(f"{name}, {language}: sticks out at {size['width']} px")
    assert not problems, "\n".join(problems)
