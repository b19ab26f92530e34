"""The names that people choose. In a chat, a person sees only the name of the other person (X.4)."""

# ruff: noqa: RUF001  letters that look like others are the subject of this module

import re
import unicodedata
from typing import Final

from curhat.kit.errors import invalid_field
from curhat.kit.visible_text import BLANKS, DIRECTION_MARKS, clean_text, has_something_to_see

MAX_NAME_CHARACTERS: Final = 40
# A name with _MIN_PHONE_NUMBER_DIGITS digits possibly contains a phone number, whatever separates the digits. In a name
# with fewer than _MIN_PHONE_NUMBER_DIGITS digits, the digits can be a year or an age.
_MIN_PHONE_NUMBER_DIGITS: Final = 7
_SPACES: Final = re.compile(r"\s+")

# These characters are allowed in a message, but not in a name.
_NOT_IN_A_NAME: Final = BLANKS | DIRECTION_MARKS | {"\n", "\t"}

# Contact data ------------------------------------------------------------------------------------------------

_LIKE_SIGNS: Final = str.maketrans("։∶ː꞉․。⁄∕", "::::..//")
_ADDRESS: Final = re.compile(
    r"://|\bwww\b|\b(?:wa|t)\W{0,3}me\b"
    r"|\w\.(?:app|bio|biz|cc|co|com|dev|gg|id|info|io|link|ly|me|my|net|online|org|page|sg|shop|site|store|to|tv|xyz)\b"
)
# A label with a value, such as "ig: bunga" or "wa=0812". A smiley does not match, because its colon is followed by a
# sign.
_LABEL: Final = re.compile(r"\w\s*[:=]\s*\w\w")
_SERVICES: Final = (
    "discord email facebook fb gmail ig insta instagram linkedin michat snapchat telegram tiktok twitter watsap "
    "wechat whatsap whatsapp youtube"
)

# Reserved names --------------------------------------------------------------------------------------------

_RESERVED_WORDS: Final = (
    "administrator callcenter callcentre cs customercare customerservice helpdesk hotline layananpelanggan moderator "
    "official operator petugas pusatbantuan root sistem staf staff superadmin support system"
)
# A name must not contain any of these words, even if spaces or signs split the word.
_RESERVED_PARTS: Final = (
    "curhat customercare customerservice helpdesk layananpelanggan pusatbantuan superadmin"
)
# "Badminton" contains "admin", so only the beginning of a word counts.
_RESERVED_BEGINNING: Final = "admin"

# Letters that look like Latin letters, and that NFKC does not convert. The list has the common look-alikes only.
_LOOKS_LIKE: Final = {
    **dict(zip("авекмнорстухіјѕԁԛԝһӏьпи", "abekmhopctyxijsdqwhibnn", strict=True)),
    **dict(zip("αβεηικμνορςτυχωγ", "abenikmvopctuxwy", strict=True)),
    **dict(zip("ոսօհց", "nuohg", strict=True)),
    **dict(zip("ıɩɑɡɪʀɴᴀʙᴄᴅᴇғɢʜᴊᴋʟᴍᴏᴘꜱᴛᴜᴠᴡʏᴢ", "iiagirnabcdefghjklmopstuvwyz", strict=True)),
    **dict(zip("øđħłŧɗɓƙƴ", "odhltdbky", strict=True)),
    **dict(zip("0134578$|!", "oieastbsii", strict=True)),
    # The letters in circles and squares, and the letters of flags.
    **{chr(first + n): chr(ord("a") + n) for first in (0x1F150, 0x1F170, 0x1F1E6) for n in range(26)},
}
_LOOKS_LIKE_TABLE: Final = str.maketrans(_LOOKS_LIKE)
_NUMBER: Final = re.compile(r"\d+")
_BETWEEN_WORDS: Final = re.compile(r"[\W_]+")


def checked_name(written: str, field: str) -> str:
    """Return the name, trimmed and in Unicode's composed form.

    Refuses a name that is empty or too long, or that contains invisible characters. A name must not show contact data,
    so this function refuses a phone number, an e-mail address, a link and a handle. Refuses a name that looks like a
    name of the service, so that nobody can pose as an operator.
    Raises ValidationFailed for `field`. The code of the error is `name_length`, `unusual_characters`, `nothing_to_see`,
    `contact_in_name` or `reserved_name`.
    """
    name = unicodedata.normalize("NFC", written.strip())
    problem = _problem(name)
    if problem is not None:
        code, message = problem
        raise invalid_field(field, message, code=code)
    return _SPACES.sub(" ", name)


def _problem(name: str) -> tuple[str, str] | None:
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        return "name_length", f"must be 1 to {MAX_NAME_CHARACTERS} characters"
    if not _NOT_IN_A_NAME.isdisjoint(name) or clean_text(name) != name:
        return "unusual_characters", "must not contain invisible characters, or many marks on one letter"
    if not has_something_to_see(name):
        return "nothing_to_see", "must contain something to see"
    # NFKC converts full-width or circled digits and signs to plain ones. People read a full-width or circled form as
    # the same digit or sign.
    plain = unicodedata.normalize("NFKC", name).casefold().translate(_LIKE_SIGNS)
    words = _skeletons(plain)
    if (
        sum(character.isdigit() for character in plain) >= _MIN_PHONE_NUMBER_DIGITS
        or "@" in plain
        or _ADDRESS.search(plain)
        or _LABEL.search(plain)
        or not _SERVICE_SKELETONS.isdisjoint(words)
    ):
        return "contact_in_name", "must not look like a phone number, an address, a link or a handle"
    if _is_reserved(words) or _is_reserved(_skeletons(_NUMBER.sub(" ", plain))):
        return "reserved_name", "must not look like a name of this service or its operators"
    return None


def _is_reserved(words: list[str]) -> bool:
    joined = "".join(words)
    return (
        joined in _RESERVED_SKELETONS
        or not _RESERVED_SKELETONS.isdisjoint(words)
        or any(part in joined for part in _RESERVED_PART_SKELETONS)
        or any(word.startswith(_RESERVED_BEGINNING) for word in (*words, joined))
    )


def _skeletons(text: str) -> list[str]:
    """Return the words of the text in a reduced form, in which words that look alike are equal."""
    letters = (
        character
        for character in unicodedata.normalize("NFKD", text)
        if unicodedata.category(character) not in ("Mn", "Me", "Cf")
    )
    folded = (
        "".join(letters).translate(_LOOKS_LIKE_TABLE).replace("l", "i").replace("rn", "m").replace("vv", "w")
    )
    return [word for word in _BETWEEN_WORDS.split(folded) if word]


_SERVICE_SKELETONS: Final = frozenset(_skeletons(_SERVICES))
_RESERVED_SKELETONS: Final = frozenset(_skeletons(_RESERVED_WORDS))
_RESERVED_PART_SKELETONS: Final = tuple(_skeletons(_RESERVED_PARTS))
