"""Test which characters people can write in messages, notes and reasons, and which characters the server removes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import text

from curhat.kit.errors import ValidationFailed
from curhat.kit.visible_text import MAX_LINES, checked_text, clean_text, has_something_to_see

# The tests of the web clients also use these cases.
CASES_FILE = Path(__file__).parents[2] / "web/shared/words/visibleText.cases.json"
CASES: list[dict[str, Any]] = json.loads(CASES_FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_server_keeps_visible_characters_and_the_marks_that_scripts_and_emoji_need(
    case: dict[str, Any],
) -> None:
    assert clean_text(case["text"]) == case["clean"]
    assert has_something_to_see(case["text"]) == has_something_to_see(case["clean"]) == case["visible"]


@given(text())
def test_a_text_that_was_cleaned_does_not_change_again(written: str) -> None:
    cleaned = clean_text(written)
    assert clean_text(cleaned) == cleaned
    assert has_something_to_see(cleaned) == has_something_to_see(written)


def test_a_text_with_too_many_lines_keeps_all_its_words_in_fewer_lines() -> None:
    written = "\n".join(map(str, range(1000)))
    cleaned = clean_text(written)
    assert cleaned.count("\n") + 1 == MAX_LINES
    assert cleaned.split() == written.split()


@pytest.mark.parametrize(
    ("written", "code"), [("\u200b\u3164", "nothing_to_see"), ("\u0958" * 6, "too_long")]
)
def test_an_invisible_text_and_a_text_that_grows_too_long_are_refused(written: str, code: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        checked_text(written, "text", 10)
    (error,) = refused.value.fields["errors"]
    assert (error["field"], error["code"]) == ("text", code)
