"""Test which phone numbers are accepted or refused, and how a phone number is masked."""

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
        "81100000001",
        "0062 811 0000 0001",
        "008 62 811 0000 0001",
        "+62 0811 0000 0001",
        "+62 (0) 811 0000 0001",
        "(+62) 811-0000-0001",
        "0811/0000.0001",
    ],
)
def test_a_phone_number_is_accepted_in_every_usual_format(written: str) -> None:
    assert normalise(written) == "+6281100000001"


@pytest.mark.rule("S.1")
@pytest.mark.parametrize(
    "written",
    [
        "\u202a+62 811-0000-0001\u202c",
        "\u202d+62 811\u20110000\u20110001\u202c",
        "\u200e0811\u00a00000\u00a00001\u200f",
        "\u2068+62\u202f811\u20090000\u20090001\u2069",
        "\ufeff081100000001\u200b",
        "0811\u20130000\u20140001",
        "0811\u22120000\u22120001",
        "0811\u30fc0000\u20530001",
        "0811\u223c0000\uff5e0001",
        "0811\u00b70000\u20220001",
        "0811_0000_0001",
        "\uff0b\uff16\uff12\uff18\uff11\uff11\uff10\uff10\uff10\uff10\uff10\uff10\uff10\uff11",
        "٠٨١١٠٠٠٠٠٠٠١",
        "0811\n0000 0001\r\n",
        "tel:+62-811-0000-0001",
        "TEL:081100000001",
        "tel:811-0000-0001;phone-context=+62",
    ],
)
def test_a_phone_number_is_accepted_in_the_characters_of_contacts_and_links_and_other_scripts(
    written: str,
) -> None:
    assert normalise(written) == "+6281100000001"


@pytest.mark.rule("S.1")
@pytest.mark.parametrize(
    ("written", "expected"),
    [("+14155550123", "+14155550123"), ("+65 9123 4567", "+6591234567"), ("+60 12-345 6789", "+60123456789")],
)
def test_a_foreign_phone_number_is_accepted_only_if_its_country_is_allowed(
    written: str, expected: str
) -> None:
    assert normalise(written, ("ID", "MY", "SG", "US")) == expected
    assert normalise(written, None) == expected
    with pytest.raises(ValidationFailed) as refused:
        normalise(written)
    (error,) = refused.value.fields["errors"]
    assert (error["field"], error["code"]) == ("phone", "foreign_number")
    assert error["message"].endswith("only numbers of ID")


@pytest.mark.rule("S.1")
def test_the_stored_form_of_an_accepted_phone_number_is_accepted_again() -> None:
    stored = normalise("0065 9123 4567", ("SG",))
    assert (stored, normalise(stored, ("SG",))) == ("+6591234567", "+6591234567")


@pytest.mark.rule("S.1")
@pytest.mark.parametrize(
    "written",
    [
        "",
        "08",
        "08123",
        "62811",
        "6591234567",
        "9110000001",
        "call 081100000001",
        "081100000001 / 081100000002",
        "081100000001#5",
        "081100000001x5",
        "tel:081100000001;ext=5",
        "tel:08110000;phone-context=evil.example",
        "(0811)(",
        "0811-CURHAT",
        "081100000001 ext. 5",
        "081100000001;ext=5",
        "++6281100000001",
        "+62811000000010000",
        "021 5551234",
        "08001234567",
        "081100000001\x00",
        "+62",
        "not a number",
        "0" * 30,
    ],
)
def test_a_text_without_a_mobile_number_is_refused_with_the_name_of_the_field(written: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        normalise(written)
    (error,) = refused.value.fields["errors"]
    assert (error["field"], error["code"]) == ("phone", "not_a_mobile_number")


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
