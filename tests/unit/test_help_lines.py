"""Test the help lines that come with a release, and what a list must contain (H.1)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from curhat.content.help_lines.schemas import HelpChannel, HelpLine
from curhat.content.help_lines.service import checked_items, is_unverified, shipped_items
from curhat.kit.errors import ValidationFailed

NOW = datetime(2026, 12, 1, tzinfo=UTC)
SHIPPED = shipped_items()


def line(number: int = 1, **changes: Any) -> HelpLine:
    return msgspec.structs.replace(SHIPPED[number], **changes)


def refusal(*items: HelpLine) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as raised:
        checked_items(items, NOW)
    error: dict[str, str] = raised.value.fields["errors"][0]
    return error


@pytest.mark.rule("H.1")
def test_the_shipped_list_can_be_published() -> None:
    assert checked_items(SHIPPED, NOW) == SHIPPED


@pytest.mark.rule("H.1")
def test_the_shipped_list_has_exactly_the_lines_whose_facts_are_known() -> None:
    numbers = {
        item.name: [channel.value for channel in item.channels] for item in SHIPPED if item.kind == "line"
    }
    assert numbers == {
        "112": ["112"],
        "119 ext 8": ["119,8", "https://healing119.id"],
        "SAPA 129": ["129", "+628111129129"],
        "JakCare": ["0800-1500-119"],
    }
    assert SHIPPED[0].kind == "step"


@pytest.mark.rule("H.1")
def test_the_shipped_list_says_that_nobody_has_called_its_lines() -> None:
    assert [item.verified_at for item in SHIPPED] == [None] * len(SHIPPED)
    assert all(is_unverified(item, NOW) for item in SHIPPED if item.kind == "line")


@pytest.mark.rule("H.1")
def test_lines_that_do_not_serve_or_are_disputed_are_never_shipped() -> None:
    text = msgspec.json.encode(SHIPPED).decode().casefold()
    for name in ("into the light", "intothelight", "lisa"):
        assert name not in text


@pytest.mark.rule("H.1")
def test_a_list_needs_three_lines_of_two_providers_and_a_step() -> None:
    step, *lines = SHIPPED
    assert refusal(step, *lines[:2])["code"] == "too_few_help_lines"
    same = [line(number, provider=provider) for number, provider in ((1, "A"), (2, "a"), (3, "A"))]
    assert refusal(step, *same)["code"] == "too_few_help_lines"
    assert refusal(*lines)["code"] == "no_help_step"
    assert refusal(step, *lines, lines[0])["code"] == "help_line_twice"


@pytest.mark.rule("H.1")
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("call", "ring us"),
        ("call", "112;phone-context=evil"),
        ("whatsapp", "08111129129"),
        ("web", "http://healing119.id"),
        ("web", "javascript:alert(1)"),
        ("web", "https://healing119.id@example.com"),
    ],
)
def test_a_channel_that_a_phone_cannot_open_safely_is_refused(kind: Any, value: str) -> None:
    others = [SHIPPED[0], *SHIPPED[2:]]
    wrong = line(channels=[HelpChannel(kind, value)])
    assert refusal(*others, wrong)["field"] == "items[4].channels"


@pytest.mark.rule("H.1")
def test_every_wrong_field_of_a_list_is_named_at_once() -> None:
    with pytest.raises(ValidationFailed) as raised:
        checked_items(
            [
                SHIPPED[0],
                line(1, channels=[]),
                line(2, name="\u200b"),
                line(3, verified_at=NOW + timedelta(1)),
            ],
            NOW,
        )
    assert [error["field"] for error in raised.value.fields["errors"]] == [
        "items[1].channels",
        "items[2].name",
        "items[3].verified_at",
    ]


@pytest.mark.rule("H.1")
def test_a_line_counts_as_verified_for_30_days() -> None:
    assert not is_unverified(line(verified_at=NOW - timedelta(days=30)), NOW)
    assert is_unverified(line(verified_at=NOW - timedelta(days=30, seconds=1)), NOW)
    assert not is_unverified(SHIPPED[0], NOW)
