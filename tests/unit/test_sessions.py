"""Test the parts of the sessions package that need no database."""

import re
import time

import pytest

from curhat.sessions.schemas import NO_NUL, WRITTEN
from curhat.sessions.states import ALL_END_REASONS, OPENS_A_CASE


@pytest.mark.rule("X.8")
def test_a_session_opens_a_case_only_when_the_mitra_or_a_suspension_ended_the_session() -> None:
    assert {"mitra_ended", "mitra_suspended"} == OPENS_A_CASE
    assert OPENS_A_CASE < ALL_END_REASONS


@pytest.mark.parametrize("text", ["a", " a", "a ", "\na\n", "\u200b", "é", "😀", "a\tb"])
def test_a_text_that_is_not_blank_is_allowed(text: str) -> None:
    assert re.search(WRITTEN, text)
    assert re.search(NO_NUL, text)


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "\u00a0\u3000\t", "\x00", "a\x00", "\x00a", "a\n\x00", "a\x00\n"]
)
def test_blank_texts_and_nul_are_refused(text: str) -> None:
    assert not re.search(WRITTEN, text)


@pytest.mark.parametrize(
    "text", [" " * 4000, "a" * 3999 + "\x00", " " * 3999 + "\x00", " a" * 1999 + "\x00 "]
)
def test_the_pattern_for_blank_texts_is_fast_for_every_text(text: str) -> None:
    begun = time.perf_counter()
    for _ in range(20):
        assert not re.search(WRITTEN, text)
    # A pattern with a backtrack at each character would take about a hundred times this limit.
    assert time.perf_counter() - begun < 0.2
