"""Phone numbers: what people type, as E.164, and what may be shown of one."""

import re
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from curhat.kit.errors import ValidationFailed

# Digits with the usual separators. phonenumbers alone would also read letters ("0811-CURHAT") and extensions.
_WRITTEN: Final = re.compile(r"\+?[0-9 ().-]{6,30}")
_SEPARATORS: Final = re.compile(r"[ ().-]")
INDONESIA: Final = 62
_INDONESIAN_MOBILE: Final = re.compile(r"8[1-9][0-9]{6,10}")
# Elsewhere (a land line, a number somebody else pays for) no code can arrive.
_RECEIVES_CODES: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})


def normalise(written: str) -> str:
    """08…, 62…, +62… or another country's number as E.164, such as +6281100000001. Raises ValidationFailed."""
    text = written.strip()
    if _WRITTEN.fullmatch(text):
        digits = _SEPARATORS.sub("", text)
        if digits.startswith("62"):
            digits = f"+{digits}"
        # Without a zero or a country code, nobody can tell whose number it is.
        if digits.startswith(("0", "+")):
            try:
                number = phonenumbers.parse(digits, "ID")
            except phonenumbers.NumberParseException:
                pass
            else:
                if _can_receive_codes(number):
                    return phonenumbers.format_number(number, PhoneNumberFormat.E164)
    raise ValidationFailed(
        errors=[
            {
                "field": "phone",
                "message": "is no mobile number; write it like 0811…, 62811… or +62811…, "
                "and one of another country with + and its code",
            }
        ]
    )


def mask(phone_number: str) -> str:
    """An E.164 number as it may be shown: the country code and the last digits, such as `+62 ***-****-0001`."""
    number = phonenumbers.parse(phone_number)
    digits = phonenumbers.national_significant_number(number)
    shown = digits[-4:] if len(digits) >= 8 else digits[-3:]
    return f"+{number.country_code} ***-****-{shown}"


def _can_receive_codes(number: PhoneNumber) -> bool:
    if number.country_code == INDONESIA:
        # Operators get new ranges faster than any list learns of them: every 81… to 89… is a mobile number.
        return _INDONESIAN_MOBILE.fullmatch(phonenumbers.national_significant_number(number)) is not None
    return phonenumbers.is_valid_number(number) and phonenumbers.number_type(number) in _RECEIVES_CODES
