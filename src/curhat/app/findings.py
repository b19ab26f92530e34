"""The findings of `curhat doctor`: one line per subject."""

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One line of the output: the state and the name of a subject, and a sentence that says what to do."""

    state: Literal["ok", "warn", "FAIL"]
    subject: str
    sentence: str
