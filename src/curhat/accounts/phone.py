"""Converts to E.164 the phone numbers that people typed or pasted. Masks phone numbers for display."""

import contextlib
import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from curhat.kit.errors import invalid_field
from curhat.kit.settings import DEFAULT_PHONE_REGIONS

INDONESIA: Final = 62
# A link to a phone number (RFC 3966). The only possible parameter of the link is the country code of the number.
_LINK: Final = re.compile(r"tel:([^;]+)(?:;phone-context=(\+[0-9]{1,3}))?", re.IGNORECASE)
# Dashes, brackets and invisible characters. Contact lists can put invisible marks around a number.
_SEPARATOR_CATEGORIES: Final = frozenset({"Pd", "Ps", "Pe", "Cf"})
# Separators outside _SEPARATOR_CATEGORIES: all that libphonenumber accepts, except the letter x, and some that only
# people write.
_SEPARATOR_SIGNS: Final = frozenset("./~\u2212\u30fc\u2053\u223c\u00b7\u2022_")
_DIGITS: Final = re.compile(r"\+?[0-9]{7,20}")
_INDONESIAN_MOBILE: Final = re.compile(r"8[1-9][0-9]{6,10}")
# A number that is certainly not mobile, such as a land line or a toll-free number, cannot receive a code.
_RECEIVES_CODES: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})


def normalise(written: str, regions: Collection[str] | None = DEFAULT_PHONE_REGIONS) -> str:
    """Convert 08…, 8…, 62…, +62…, 0062…, tel:… or another country's number to E.164, such as +6281100000001.

    Accepts numbers of the countries in `regions` (ISO 3166-1), and of every country if `regions` is None.
    Raises ValidationFailed. The code of the error is `not_a_mobile_number` or `foreign_number`.
    """
    foreign_region = None
    for number in _readings(written):
        region = phonenumbers.region_code_for_number(number)
        if regions is None or region in regions:
            return phonenumbers.format_number(number, PhoneNumberFormat.E164)
        foreign_region = region
    if regions is not None and foreign_region is not None:
        allowed = ", ".join(sorted(regions))
        message = f"is a number of {foreign_region}; this service accepts only numbers of {allowed}"
        raise invalid_field("phone", message, code="foreign_number")
    raise invalid_field(
        "phone",
        "is no mobile number; write it like 0811…, 62811… or +62811…, "
        "and one of another country with + and its code",
        code="not_a_mobile_number",
    )


def region_of(phone_number: str) -> str:
    """Return the country (ISO 3166-1) of an E.164 number that `normalise` returned."""
    return phonenumbers.region_code_for_number(phonenumbers.parse(phone_number)) or "ZZ"


# A person without a phone number has a number that begins with NO_COUNTRY, which is no country's code.
NO_COUNTRY: Final = "+999"
NO_NUMBER: Final = "—"


def mask(phone_number: str) -> str:
    """Mask an E.164 number for display: keep its country code and last digits, such as `+62 ***-****-0001`.

    Returns `NO_NUMBER` for a person without a number, whose account is deleted or was lost in a restore.
    """
    if phone_number.startswith(NO_COUNTRY):
        return NO_NUMBER
    number = phonenumbers.parse(phone_number)
    digits = phonenumbers.national_significant_number(number)
    shown = digits[-4:] if len(digits) >= 8 else digits[-3:]
    return f"+{number.country_code} ***-****-{shown}"


def _readings(written: str) -> Iterator[PhoneNumber]:
    """Yield each mobile number that this text can mean. The text must contain nothing but the number."""
    # NFKC converts no-break spaces, and full-width or circled digits and signs, to plain ones.
    text = unicodedata.normalize("NFKC", written).strip()
    if (link := _LINK.fullmatch(text)) is not None:
        number, country_code = link.groups()
        text = number if country_code is None or number.startswith("+") else country_code + number
    # Without this check, the library would also accept letters ("0811-CURHAT"), extensions, and words around a number.
    digits = "".join(_plain(character) for character in text)
    if not _DIGITS.fullmatch(digits):
        return
    for candidate in _candidates(digits):
        with contextlib.suppress(phonenumbers.NumberParseException):
            parsed = phonenumbers.parse(candidate, "ID")
            if _can_receive_codes(parsed):
                yield parsed


def _plain(character: str) -> str:
    """Convert a digit of any script to 0-9, and a separator to the empty text."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    is_separator = unicodedata.category(character) in _SEPARATOR_CATEGORIES or character in _SEPARATOR_SIGNS
    return "" if is_separator or character.isspace() else character


def _candidates(digits: str) -> list[str]:
    if digits.startswith("00"):
        # The library knows only Indonesia's own prefixes for a call to another country, such as 008, so convert 00 to
        # +.
        return [f"+{digits[2:]}", digits]
    if digits.startswith("62"):
        return [f"+{digits}"]
    # Refuse a number that begins with none of +, 62, 0 and 8, such as 6591234567, because its country is ambiguous.
    return [digits] if digits.startswith(("+", "0", "8")) else []


def _can_receive_codes(number: PhoneNumber) -> bool:
    if number.country_code == INDONESIA:
        # The library's list lacks the newest number ranges of the mobile networks. So accept every Indonesian number
        # that begins with 81 to 89.
        return _INDONESIAN_MOBILE.fullmatch(phonenumbers.national_significant_number(number)) is not None
    return phonenumbers.is_valid_number(number) and phonenumbers.number_type(number) in _RECEIVES_CODES
