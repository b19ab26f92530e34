"""Reads the drafts of the texts, which are files in this package."""

from pathlib import Path
from typing import Final

from curhat.content.texts.kinds import Language, TextKind

DRAFTS: Final = Path(__file__).parent / "drafts"


def draft_of(kind: TextKind, language: Language) -> str:
    """Return the draft of a text."""
    return (DRAFTS / f"{kind}.{language}.md").read_text(encoding="utf-8").strip()
