"""Converts phone numbers, as people type them, to E.164. Masks phone numbers for display."""

import contextlib
import re
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from curhat.kit.errors import invalid_field

# Digits with the usual separators. The library phonenumbers would also accept letters ("0811-CURHAT") and extensions.
_WRITTEN: Final = re.compile(r"\+?[0-9 ().-]{6,30}")
_SEPARATORS: Final = re.compile(r"[ ().-]")
INDONESIA: Final = 62
_INDONESIAN_MOBILE: Final = re.compile(r"8[1-9][0-9]{6,10}")
# Numbers of other types, such as land lines and toll-free numbers, cannot receive a code.
_RECEIVES_CODES: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})


def normalise(written: str) -> str:
    """Convert 08…, 62…, +62… or another country's number to E.164, such as +6281100000001.

    Raises ValidationFailed.
    """
    text = written.strip()
    digits = _SEPARATORS.sub("", text)
    if digits.startswith("62"):
        digits = f"+{digits}"
    # A number without a leading zero or a country code is ambiguous.
    if _WRITTEN.fullmatch(text) and digits.startswith(("0", "+")):
        with contextlib.suppress(phonenumbers.NumberParseException):
            number = phonenumbers.parse(digits, "ID")
            if _can_receive_codes(number):
                return phonenumbers.format_number(number, PhoneNumberFormat.E164)
    raise invalid_field(
        "phone",
        "is no mobile number; write it like 0811…, 62811… or +62811…, "
        "and one of another country with + and its code",
    )


def mask(phone_number: str) -> str:
    """Mask an E.164 number for display: keep its country code and last digits, such as `+62 ***-****-0001`."""
    number = phonenumbers.parse(phone_number)
    digits = phonenumbers.national_significant_number(number)
    shown = digits[-4:] if len(digits) >= 8 else digits[-3:]
    return f"+{number.country_code} ***-****-{shown}"


def _can_receive_codes(number: PhoneNumber) -> bool:
    if number.country_code == INDONESIA:
        # The library's list lacks the newest number ranges of the mobile networks. So accept every number from 81… to
        # 89….
        return _INDONESIAN_MOBILE.fullmatch(phonenumbers.national_significant_number(number)) is not None
    return phonenumbers.is_valid_number(number) and phonenumbers.number_type(number) in _RECEIVES_CODES
