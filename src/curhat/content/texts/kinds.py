"""The kinds of texts, and which kinds each role accepts. Pure."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

from curhat.kit.identity import Role

TextKind = Literal["terms", "privacy", "health_data", "code_of_conduct"]
Language = Literal["id", "en"]

# All kinds, in the order in which the apps show them.
KINDS: Final[tuple[TextKind, ...]] = get_args(TextKind)

# The kinds that each role must accept, in the order in which the apps show them.
KINDS_OF: Final[Mapping[Role, tuple[TextKind, ...]]] = {
    "customer": ("terms", "privacy", "health_data"),
    "mitra": ("terms", "privacy", "health_data", "code_of_conduct"),
}

# A person under this age is refused (P.2).
ADULT_YEARS: Final = 18


def is_adult(birth_year: int, present_year: int) -> bool:
    """Return whether the year of birth allows the person to be an adult.

    A person whose 18th birthday is in the present year counts as an adult. The person is perhaps still 17, but states
    in the terms to be an adult (record 0149).
    """
    return present_year - birth_year >= ADULT_YEARS


def language_of(accepted_languages: str) -> Language:
    """Return the language that an Accept-Language header prefers: Indonesian, unless English is preferred to it."""
    best: tuple[float, Language] = (0.0, "id")
    for part in accepted_languages.split(",")[:20]:
        name, _, parameters = part.strip().partition(";")
        primary = name.strip().lower().partition("-")[0]
        # "in" is the old code of Indonesian, which old Android phones still send.
        language: Language | None = {"id": "id", "in": "id", "en": "en"}.get(primary)  # type: ignore[assignment]
        quality = _quality_of(parameters)
        if language is not None and quality > best[0]:
            best = (quality, language)
    return best[1]


def _quality_of(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 0.0
