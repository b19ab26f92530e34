"""The names that people choose for themselves. A name is all that the other side learns (X.4)."""

import re
import unicodedata
from typing import Final

from curhat.kit.errors import ValidationFailed

LONGEST_NAME: Final = 40
# Shorter runs are years and ages; from here on they can be a phone number, however they are broken up.
_DIGITS_OF_A_PHONE_NUMBER: Final = 7
# Joins two emoji into one; every other invisible character has no business in a name.
_JOINER: Final = "\u200d"
# Letters and symbols that are drawn as nothing: the Hangul fillers and the blank Braille pattern.
_BLANKS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_SPACES: Final = re.compile(r"\s+")


def checked_name(written: str, field: str) -> str:
    """The name, trimmed and in Unicode's composed form. Raises ValidationFailed naming `field`.

    Refused: what is empty or too long, invisible characters, and whatever looks like a phone number, an e-mail
    address or a handle, since a name must not tell who somebody is or where else to find them.
    """
    name = unicodedata.normalize("NFC", written.strip())
    problem = _problem(name)
    if problem is not None:
        raise ValidationFailed(errors=[{"field": field, "message": problem}])
    return _SPACES.sub(" ", name)


def _problem(name: str) -> str | None:
    if not 1 <= len(name) <= LONGEST_NAME:
        return f"must be 1 to {LONGEST_NAME} characters"
    if any(_is_forbidden(character) for character in name):
        return "must not contain control or invisible characters"
    if all(unicodedata.category(character)[0] in "MCZ" for character in name):
        return "must contain something to see"
    # Full-width and circled digits and signs read like the plain ones.
    plain = unicodedata.normalize("NFKC", name)
    if sum(character.isdigit() for character in plain) >= _DIGITS_OF_A_PHONE_NUMBER:
        return "must not look like a phone number"
    if "@" in plain:
        return "must not look like an e-mail address or a handle"
    return None


def _is_forbidden(character: str) -> bool:
    category = unicodedata.category(character)
    if character == _JOINER:
        return False
    # Cc, Cf, Co, Cs, Cn; and separators of lines and paragraphs.
    return category.startswith("C") or category in ("Zl", "Zp") or character in _BLANKS
