"""Finds the character NUL in JSON. PostgreSQL cannot store NUL in a text, so the server refuses NUL in all JSON."""

from typing import Any

import msgspec


def field_with_nul(body: bytes | str) -> str | None:
    """Return the path of a text that contains NUL, such as `note` or `items[0]`. Return None if no text contains NUL.

    `body` is valid JSON. Raises RecursionError if `body` is nested too deeply.
    """
    # JSON can contain the character NUL only as an escape.
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
