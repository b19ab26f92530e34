"""Defines visible text, for everything that people write for others: names, messages, notes, reasons.

`web/shared/words/visibleText.ts` contains the same definition of "something to see", for the clients.
`visibleText.cases.json` in the same folder has the test cases that both definitions must pass.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from curhat.kit.errors import invalid_field

# UTS 39 calls more than 4 nonspacing marks on one character abnormal. No living language needs more than 4 marks.
MAX_MARKS_PER_CHARACTER: Final = 4
MAX_BLANK_LINES: Final = 2
MAX_LINES: Final = 200
# The flags of England, Scotland and Wales have 6 tags.
MAX_TAGS_PER_FLAG: Final = 8

# Most messages consist of line breaks and printable ASCII characters, and need no check of each character.
_PLAIN: Final = re.compile(r"[\n\x20-\x7e]*")
_LINE_BREAK: Final = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_BLANK_LINES: Final = re.compile(rf"\n(?:[^\S\n]*\n){{{MAX_BLANK_LINES + 1},}}")
# Some scripts need the joiners inside words, and ZWJ joins emoji.
_JOINERS: Final = frozenset("\u200c\u200d")
# Invisible marks that Arabic and Hebrew writers use to place punctuation. A direction mark has no effect outside its
# text.
DIRECTION_MARKS: Final = frozenset("\u200e\u200f\u061c")
_BLACK_FLAG: Final = "\U0001f3f4"
_TAGS: Final = frozenset(map(chr, range(0xE0020, 0xE0080)))
# Signs of the category Cf that are visible: the number signs of Arabic, Syriac and Kaithi.
_VISIBLE_FORMAT: Final = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
# Letters and symbols that are displayed as blank: the Hangul fillers, the blank Braille pattern, and the null notehead.
BLANKS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")


def clean_text(written: str) -> str:
    """Return a form of the text that is safe to store and display. The result can be empty.

    Composes characters (NFC). Removes control and invisible characters, but keeps the joiners, selectors and tags that
    emoji and scripts need. Limits the number of marks on one character, of blank lines in a row, and of lines.
    """
    text = _LINE_BREAK.sub("\n", written)
    if not _PLAIN.fullmatch(text):
        text = "".join(_kept_characters(unicodedata.normalize("NFC", text)))
        # Compose again, because a removed character perhaps separated a mark from its letter.
        text = unicodedata.normalize("NFC", text)
    text = _BLANK_LINES.sub("\n" * (MAX_BLANK_LINES + 1), text)
    if text.count("\n") >= MAX_LINES:
        *lines, rest = text.split("\n", MAX_LINES - 1)
        text = "\n".join([*lines, " ".join(rest.split("\n"))])
    return text


def has_something_to_see(text: str) -> bool:
    """Return whether the text has at least one visible character. A mark does not count as a visible character."""
    return any(
        unicodedata.category(character)[0] not in "MZ"
        and character not in BLANKS
        and not _is_invisible(character)
        for character in text
    )


def checked_text(written: str, field: str, max_characters: int) -> str:
    """Return `clean_text(written)`. Raises ValidationFailed for `field` if the text shows nothing or is too long."""
    text = clean_text(written)
    if not has_something_to_see(text):
        raise invalid_field(field, "must contain something to see", code="nothing_to_see")
    # NFC makes a few rare characters longer.
    if len(text) > max_characters:
        raise invalid_field(field, f"must be at most {max_characters} characters", code="too_long")
    return text


def _is_invisible(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cn":
        # A new emoji has the category Cn until Python knows the emoji. The code points that the test below finds are no
        # characters, or are reserved for invisible characters.
        code = ord(character)
        is_kept = code == 0x2065 or 0xFDD0 <= code <= 0xFDEF or 0xFFF0 <= code <= 0xFFF8 or code >= 0xE0000
        return is_kept or code & 0xFFFE == 0xFFFE
    return category[0] == "C" and character not in _VISIBLE_FORMAT


def _kept_characters(text: str) -> Iterator[str]:
    before = ""  # the last character that was kept
    marks = tags = 0
    for character in text:
        if unicodedata.category(character) in ("Mn", "Me"):
            marks += 1
            keeps = marks <= MAX_MARKS_PER_CHARACTER
        elif character in _JOINERS:
            keeps = before != "" and not before.isspace() and not _is_invisible(before)
        elif character in DIRECTION_MARKS:
            keeps = before not in DIRECTION_MARKS
        elif character in _TAGS:
            tags += 1
            keeps = tags <= MAX_TAGS_PER_FLAG and (before == _BLACK_FLAG or before in _TAGS)
        else:
            keeps = character in "\n\t" or not _is_invisible(character)
            if keeps:
                marks = tags = 0
        if keeps:
            before = character
            yield character
