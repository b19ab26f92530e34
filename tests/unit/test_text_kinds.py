"""Test the decisions about texts that need no database."""

import pytest

from curhat.content.texts.kinds import KINDS, Language, is_adult, language_of
from curhat.content.texts.schemas import MAX_BODY_CHARACTERS
from curhat.content.texts.shipped import draft_of


@pytest.mark.rule("P.2")
@pytest.mark.parametrize(
    ("birth_year", "adult"), [(1926, True), (2007, True), (2008, True), (2009, False), (2026, False)]
)
def test_only_a_year_that_allows_the_age_of_18_counts_as_adult(birth_year: int, adult: bool) -> None:
    assert is_adult(birth_year, 2026) is adult


@pytest.mark.rule("P.1")
@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "id"),
        ("fr-FR, de;q=0.9", "id"),
        ("en", "en"),
        ("en-US,en;q=0.9,id;q=0.8", "en"),
        ("id-ID,id;q=0.9,en;q=0.8", "id"),
        ("in-ID", "id"),
        ("en;q=0.2, id;q=0.7", "id"),
        ("en;q=0", "id"),
        ("en;q=x", "id"),
        ("*", "id"),
        (",;=,", "id"),
    ],
)
def test_the_language_is_indonesian_unless_english_is_preferred(header: str, language: Language) -> None:
    assert language_of(header) == language


@pytest.mark.rule("P.1")
@pytest.mark.parametrize("kind", KINDS)
def test_each_draft_has_the_same_outline_in_both_languages(kind: str) -> None:
    """The two languages have the same headings and list items in the same order."""
    outlines = []
    for language in ("id", "en"):
        body = draft_of(kind, language)  # type: ignore[arg-type]
        assert len(body) <= MAX_BODY_CHARACTERS
        outlines.append([line.split(" ")[0] for line in body.split("\n") if line.startswith(("#", "-"))])
    assert outlines[0] == outlines[1]
    assert outlines[0][0] == "#"
