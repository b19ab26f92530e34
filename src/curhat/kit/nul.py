"""Finds the character NUL in JSON. PostgreSQL stores it in no text, so the server refuses it wherever it reads JSON."""

from typing import Any

import msgspec


def field_with_nul(body: bytes | str) -> str | None:
    """Return the path of a text that contains NUL, such as `note` or `items[0]`. Return None if there is none.

    `body` is valid JSON. Raises RecursionError if it is nested too deeply.
    """
    # JSON cannot contain the character itself, only its escape.
    has_escape = b"\\u0000" in body if isinstance(body, bytes) else "\\u0000" in body
    return _find(msgspec.json.decode(body), "") if has_escape else None


def _find(value: Any, path: str) -> str | None:
    if isinstance(value, str):
        return (path or "body") if "\0" in value else None
    found: list[str | None] = []
    if isinstance(value, dict):
        found = [_find(inner, f"{path}.{name}" if path else name) for name, inner in value.items()]
    elif isinstance(value, list):
        found = [_find(inner, f"{path}[{number}]") for number, inner in enumerate(value)]
    return next((one for one in found if one is not None), None)
