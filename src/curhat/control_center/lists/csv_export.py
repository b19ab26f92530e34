"""Converts list items to lines of CSV that are safe to open in a spreadsheet."""

import csv
import io
import types
from collections.abc import Mapping, Sequence
from typing import Any, Final, Union, get_args, get_origin

import msgspec

# A spreadsheet runs a cell that begins with one of these characters as a formula. The last four characters are the
# full-width forms that East Asian keyboards type.
_FORMULA_BEGINNINGS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_header(item_type: type[msgspec.Struct]) -> bytes:
    """Return the line of column names. A field of a nested struct is named `struct_field`."""
    return _csv_line(_columns(item_type))


def csv_rows(items: Sequence[msgspec.Struct]) -> bytes:
    """Return one line per item, with its columns in the order of `csv_header`."""
    return b"".join(_csv_line(_cells(type(item), msgspec.to_builtins(item))) for item in items)


def _columns(item_type: type[msgspec.Struct], prefix: str = "") -> list[str]:
    names: list[str] = []
    for field in msgspec.structs.fields(item_type):
        nested = _nested_struct(field.type)
        names += _columns(nested, f"{prefix}{field.encode_name}_") if nested else [prefix + field.encode_name]
    return names


def _cells(item_type: type[msgspec.Struct], values: Mapping[str, Any] | None) -> list[Any]:
    cells: list[Any] = []
    for field in msgspec.structs.fields(item_type):
        value = None if values is None else values.get(field.encode_name)
        nested = _nested_struct(field.type)
        cells += _cells(nested, value) if nested else [value]
    return cells


def _nested_struct(field_type: Any) -> type[msgspec.Struct] | None:
    """Return the struct type in a field's type, such as `Item` in `Item | None`. Return None if there is none."""
    choices = get_args(field_type) if get_origin(field_type) in (Union, types.UnionType) else (field_type,)
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            return choice
    return None


def _csv_line(cells: Sequence[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow([_cell(cell) for cell in cells])
    return line.getvalue().encode()


def _cell(value: Any) -> Any:
    """Return the value for a spreadsheet. An apostrophe before a formula keeps the spreadsheet from running it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA_BEGINNINGS):
        return f"'{value}"
    return value
