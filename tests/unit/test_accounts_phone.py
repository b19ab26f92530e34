"""Test which phone numbers are accepted and refused, and how a phone number is masked."""

import pytest

from curhat.accounts.phone import mask, normalise
from curhat.kit.errors import ValidationFailed


@pytest.mark.rule("S.1")
@pytest.mark.parametrize(
    "written",
    [
        "081100000001",
        "6281100000001",
        "+6281100000001",
        "0811-0000-0001",
        "(0811) 0000 0001",
        " 62 811.0000.0001 ",
        "+62 811 0000 0001",
    ],
)
def test_a_phone_number_is_accepted_in_every_usual_format(written: str) -> None:
    assert normalise(written) == "+6281100000001"


@pytest.mark.rule("S.1")
@pytest.mark.parametrize(
    ("written", "expected"),
    [("+14155550123", "+14155550123"), ("+65 9123 4567", "+6591234567"), ("+60 12-345 6789", "+60123456789")],
)
def test_a_foreign_phone_number_is_accepted_with_its_country_code(written: str, expected: str) -> None:
    assert normalise(written) == expected


@pytest.mark.rule("S.1")
@pytest.mark.parametrize(
    "written",
    [
        "",
        "08",
        "08123",
        "62811",
        "8110000001",
        "6591234567",
        "0811-CURHAT",
        "081100000001 ext. 5",
        "081100000001;ext=5",
        "++6281100000001",
        "+62811000000010000",
        "021 5551234",
        "08001234567",
        "٠٨١١٠٠٠٠٠٠٠١",
        "081100000001\x00",
        "+62",
        "not a number",
        "0" * 30,
    ],
)
def test_a_text_that_is_not_a_mobile_number_is_refused_with_the_name_of_the_field(written: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        normalise(written)
    assert [error["field"] for error in refused.value.fields["errors"]] == ["phone"]


@pytest.mark.rule("X.4")
@pytest.mark.parametrize(
    ("phone_number", "masked"),
    [
        ("+6281100000001", "+62 ***-****-0001"),
        ("+14155550123", "+1 ***-****-0123"),
        ("+2901234", "+290 ***-****-234"),
    ],
)
def test_a_masked_phone_number_shows_only_the_country_code_and_the_last_digits(
    phone_number: str, masked: str
) -> None:
    assert mask(phone_number) == masked
