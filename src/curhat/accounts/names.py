"""The names that people choose. In a chat, nobody learns more about the other person than the name (X.4)."""

import re
import unicodedata
from typing import Final

from curhat.kit.errors import invalid_field

MAX_NAME_CHARACTERS: Final = 40
# A name with this many digits may contain a phone number, whatever separates the digits. A name with fewer digits may
# contain a year or an age.
_MIN_PHONE_NUMBER_DIGITS: Final = 7
# Joins two emoji into one. A name may contain no other invisible character.
_JOINER: Final = "\u200d"
# Letters and symbols that are displayed as blank: the Hangul fillers and the blank Braille pattern.
_BLANKS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_SPACES: Final = re.compile(r"\s+")


def checked_name(written: str, field: str) -> str:
    """Return the name, trimmed and in Unicode's composed form.

    Refuses names that are empty or too long, contain invisible characters, or look like a phone number, an e-mail
    address or a handle. A name must not show who a person is or how else to contact them.
    Raises ValidationFailed for `field`.
    """
    name = unicodedata.normalize("NFC", written.strip())
    problem = _problem(name)
    if problem is not None:
        raise invalid_field(field, problem)
    return _SPACES.sub(" ", name)


def _problem(name: str) -> str | None:
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        return f"must be 1 to {MAX_NAME_CHARACTERS} characters"
    if any(_is_forbidden(character) for character in name):
        return "must not contain control or invisible characters"
    if all(unicodedata.category(character)[0] in "MCZ" for character in name):
        return "must contain something to see"
    # NFKC converts full-width or circled digits and signs to plain ones. People read both forms as the same number or
    # sign.
    plain = unicodedata.normalize("NFKC", name)
    if sum(character.isdigit() for character in plain) >= _MIN_PHONE_NUMBER_DIGITS:
        return "must not look like a phone number"
    if "@" in plain:
        return "must not look like an e-mail address or a handle"
    return None


def _is_forbidden(character: str) -> bool:
    category = unicodedata.category(character)
    # The categories that begin with C are Cc, Cf, Co, Cs and Cn. Zl and Zp are line and paragraph separators.
    is_invisible = category.startswith("C") or category in ("Zl", "Zp") or character in _BLANKS
    return is_invisible and character != _JOINER
