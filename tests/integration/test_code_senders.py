"""Test the senders of one-time codes against fakes of their companies, and the order in which senders are tried."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY

from curhat.accounts.code_sender import (
    MAX_FAILURES_IN_A_ROW,
    MAX_SENDS_RUNNING,
    REST_SECONDS,
    CodeSender,
    CodeSenders,
    CodesInFile,
    MaybeSent,
    NotSent,
    Outcome,
    Sent,
)
from curhat.accounts.errors import CodeNotSent
from curhat.accounts.twilio import TwilioSms
from curhat.accounts.whatsapp import WhatsApp
from tests.support.code_companies import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    PHONE_NUMBER_ID,
    SERVICE_SID,
    TEMPLATE,
    TOKEN,
    Company,
    Meta,
    Mood,
    Twilio,
)

PHONE = "+6281234567890"
CODE = "493021"
# The timeout is long enough for a local answer, and short for a test.
TIMEOUT_SECONDS = 0.3


def whatsapp(url: str, *, token: str = TOKEN, template: str = TEMPLATE) -> WhatsApp:
    return WhatsApp(
        phone_number_id=PHONE_NUMBER_ID,
        access_token=token,
        template=template,
        language="id",
        url=url,
        timeout_seconds=TIMEOUT_SECONDS,
    )


def sms(url: str, *, token: str = AUTH_TOKEN, sender: str = SERVICE_SID) -> TwilioSms:
    return TwilioSms(
        account_sid=ACCOUNT_SID, auth_token=token, sender=sender, url=url, timeout_seconds=TIMEOUT_SECONDS
    )


@pytest.fixture(params=["whatsapp", "sms"])
async def company(request: pytest.FixtureRequest) -> AsyncIterator[Company]:
    """Run the test with each of the two companies."""
    async with (Meta() if request.param == "whatsapp" else Twilio()).running() as running:
        yield running


@pytest.fixture
async def sender(company: Company) -> AsyncIterator[CodeSender]:
    """Return the adapter of the company. Each adapter must pass the tests that use this fixture."""
    opened = whatsapp(company.url) if isinstance(company, Meta) else sms(company.url)
    yield opened
    await opened.close()


# The port ------------------------------------------------------------------------------------------------


@pytest.mark.rule("S.1")
async def test_a_code_arrives_at_the_phone_number_that_requested_it(
    company: Company, sender: CodeSender
) -> None:
    assert await sender.send(PHONE, CODE) == Sent()
    (taken,) = company.taken
    assert (taken.phone_number, taken.code) == (PHONE, CODE)


@pytest.mark.parametrize(
    ("mood", "outcome"),
    [
        ("slow", MaybeSent),
        ("lost", MaybeSent),
        ("broken", MaybeSent),
        ("garbage", MaybeSent),
        ("huge", MaybeSent),
        ("limit", "limit"),
        ("unavailable", "unavailable"),
        ("invalid_number", "number"),
        ("expired_token", "refused"),
        ("redirect", "refused"),
    ],
)
async def test_each_fault_of_a_sending_company_leads_to_the_expected_outcome(
    company: Company, sender: CodeSender, mood: Mood, outcome: str | type[MaybeSent]
) -> None:
    company.mood = mood
    result = await sender.send(PHONE, CODE)
    if isinstance(outcome, str):
        assert isinstance(result, NotSent)
        assert result.because == outcome
        assert company.taken == []
    else:
        assert isinstance(result, outcome)
    # The log shows this reason.
    assert CODE not in repr(result)
    assert PHONE[1:] not in repr(result)
    company.mood = "accept"
    assert await sender.send(PHONE, CODE) == Sent()


@pytest.mark.parametrize("name", ["whatsapp", "sms"])
async def test_a_code_counts_as_not_sent_if_its_company_is_unreachable(name: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # Nothing listens on this port.
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        sender = whatsapp(url) if name == "whatsapp" else sms(url)
        result = await sender.send(PHONE, CODE)
        await sender.close()
    assert isinstance(result, NotSent)
    assert result.because == "unavailable"


@pytest.mark.parametrize("name", ["whatsapp", "sms"])
async def test_a_code_counts_as_refused_when_the_company_does_not_accept_our_credentials(name: str) -> None:
    async with (Meta() if name == "whatsapp" else Twilio()).running() as company:
        sender = whatsapp(company.url, token="old") if name == "whatsapp" else sms(company.url, token="old")
        result = await sender.send(PHONE, CODE)
        await sender.close()
    assert isinstance(result, NotSent)
    assert result.because == "refused"
    assert "old" not in repr(result)


async def test_a_missing_template_is_a_refusal_and_the_error_code_of_the_company_is_logged() -> None:
    async with Meta().running() as company:
        sender = whatsapp(company.url, template="another")
        assert await sender.send(PHONE, CODE) == NotSent("refused", "404/132001")
        await sender.close()


async def test_a_message_that_the_company_holds_back_counts_as_perhaps_sent() -> None:
    async with Meta().running() as company:
        sender = whatsapp(company.url)
        company.mood = "held_back"
        assert isinstance(await sender.send(PHONE, CODE), MaybeSent)
        await sender.close()


async def test_an_sms_that_twilio_accepts_but_cannot_send_counts_as_not_sent() -> None:
    async with Twilio().running() as company:
        sender = sms(company.url)
        company.mood = "held_back"
        assert await sender.send(PHONE, CODE) == NotSent("refused", "failed/30005")
        await sender.close()


@pytest.mark.parametrize(
    ("configured", "field"),
    [(SERVICE_SID, "MessagingServiceSid"), ("+6281100000000", "From"), ("CURHAT", "From")],
)
async def test_an_sms_names_its_sender_in_the_form_that_twilio_requires(configured: str, field: str) -> None:
    async with Twilio().running() as company:
        sender = sms(company.url, sender=configured)
        assert await sender.send(PHONE, CODE) == Sent()
        await sender.close()
    fields = company.taken[0].fields
    assert fields[field] == configured
    assert not {"From", "MessagingServiceSid"} - {field} & set(fields)
    # Twilio drops a text message that waits longer than the lifetime of its code.
    assert fields["ValidityPeriod"] == "300"


async def test_only_the_owner_of_a_file_of_codes_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "codes"
    path.write_text("")
    path.chmod(0o644)
    sender = CodesInFile(path)
    assert await sender.send(PHONE, CODE) == Sent()
    assert await sender.send(PHONE, "000001") == Sent()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = [msgspec.json.decode(line) for line in path.read_text().splitlines()]
    assert lines == [{"phone_number": PHONE, "code": CODE}, {"phone_number": PHONE, "code": "000001"}]
    assert isinstance(await CodesInFile(tmp_path / "missing" / "codes").send(PHONE, CODE), NotSent)


# Several senders -----------------------------------------------------------------------------------------


class Scripted:
    """A sender that returns the outcome that the test sets."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.codes: list[str] = []

    async def send(self, phone_number: str, code: str) -> Outcome:
        """See CodeSender."""
        self.codes.append(code)
        return self.outcome

    async def close(self) -> None:
        """Do nothing."""


class Hanging(Scripted):
    """A sender that never returns."""

    async def send(self, phone_number: str, code: str) -> Outcome:
        """See CodeSender."""
        self.codes.append(code)
        await asyncio.Event().wait()
        raise AssertionError


UNAVAILABLE = NotSent("unavailable", "503")


def sends(sender: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("curhat_code_sends_total", {"sender": sender, "outcome": outcome}) or 0.0


async def test_a_code_goes_through_the_first_sender_that_takes_it() -> None:
    first, second = Scripted(UNAVAILABLE), Scripted(Sent())
    before = sends("whatsapp", "unavailable"), sends("sms", "sent")
    assert await CodeSenders({"whatsapp": first, "sms": second}).send(PHONE, CODE) == "sms"
    assert (first.codes, second.codes) == ([CODE], [CODE])
    assert (sends("whatsapp", "unavailable"), sends("sms", "sent")) == (before[0] + 1, before[1] + 1)
    first.outcome = Sent()
    assert await CodeSenders({"whatsapp": first, "sms": second}).send(PHONE, "111111") == "whatsapp"
    assert second.codes == [CODE]


async def test_a_code_counts_as_sent_if_one_answer_is_lost_and_the_next_sender_fails() -> None:
    senders = CodeSenders({"whatsapp": Scripted(MaybeSent("timeout")), "sms": Scripted(UNAVAILABLE)})
    assert await senders.send(PHONE, CODE) == "whatsapp"


async def test_a_code_that_no_sender_takes_causes_an_error_with_the_time_to_wait() -> None:
    senders = CodeSenders({"whatsapp": Scripted(NotSent("number", "131026")), "sms": Scripted(UNAVAILABLE)})
    with pytest.raises(CodeNotSent) as refused:
        await senders.send(PHONE, CODE)
    assert refused.value.retry_after_seconds == 30


async def test_a_person_who_asks_again_gets_the_code_from_the_next_sender() -> None:
    first, second = Scripted(Sent()), Scripted(Sent())
    senders = CodeSenders({"whatsapp": first, "sms": second})
    used = [await senders.send(PHONE, CODE, earlier_codes=number) for number in range(3)]
    assert used == ["whatsapp", "sms", "whatsapp"]


async def test_a_sender_that_fails_repeatedly_is_tried_last_until_a_pause_is_over() -> None:
    now = 1000.0
    first, second = Scripted(UNAVAILABLE), Scripted(Sent())
    senders = CodeSenders({"whatsapp": first, "sms": second}, clock=lambda: now)
    for _ in range(MAX_FAILURES_IN_A_ROW):
        assert list(senders.order(0)) == ["whatsapp", "sms"]
        await senders.send(PHONE, CODE)
    assert list(senders.order(0)) == ["sms", "whatsapp"]
    assert REGISTRY.get_sample_value("curhat_code_senders_resting") == 1
    # The paused sender is still tried when all other senders fail.
    second.outcome = NotSent("limit", "429")
    first.outcome = Sent()
    assert await senders.send(PHONE, CODE) == "whatsapp"
    assert list(senders.order(0)) == ["whatsapp", "sms"]
    first.outcome = UNAVAILABLE
    for _ in range(MAX_FAILURES_IN_A_ROW):
        with pytest.raises(CodeNotSent):
            await senders.send(PHONE, CODE)
    now += REST_SECONDS + 1
    assert list(senders.order(0)) == ["whatsapp", "sms"]


async def test_phone_numbers_that_a_sender_cannot_reach_cause_no_pause_of_the_sender() -> None:
    first = Scripted(NotSent("number", "131026"))
    senders = CodeSenders({"whatsapp": first, "sms": Scripted(Sent())})
    for _ in range(2 * MAX_FAILURES_IN_A_ROW):
        await senders.send(PHONE, CODE)
    assert list(senders.order(0)) == ["whatsapp", "sms"]


async def test_a_sender_that_never_returns_is_given_up_after_its_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("curhat.accounts.code_sender.SEND_TIMEOUT_SECONDS", 0.05)
    second = Scripted(Sent())
    async with asyncio.timeout(2):
        assert await CodeSenders({"whatsapp": Hanging(Sent()), "sms": second}).send(PHONE, CODE) == "sms"


async def test_the_number_of_concurrent_code_deliveries_is_bounded() -> None:
    senders = CodeSenders({"sms": Scripted(Sent())})
    places = [senders.place() for _ in range(MAX_SENDS_RUNNING)]
    for place in places:
        place.__enter__()
    with pytest.raises(CodeNotSent) as refused, senders.place():
        pass
    assert refused.value.retry_after_seconds == 5
    places[0].__exit__(None, None, None)
    with senders.place():
        assert REGISTRY.get_sample_value("curhat_code_sends_running") == MAX_SENDS_RUNNING
