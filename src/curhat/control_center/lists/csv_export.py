"""Converts list items to lines of CSV (decision 0079).

The lines open correctly in a spreadsheet program whose language is Indonesian. The separator is a semicolon, because a
comma is the Indonesian decimal sign. The file begins with a byte order mark. Without the byte order mark, Excel does
not read UTF-8. Times are in Jakarta time, in a format that every spreadsheet recognises.
"""

import csv
import io
import re
import types
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Union, get_args, get_origin
from zoneinfo import ZoneInfo

import msgspec

SEPARATOR: Final = ";"
_BYTE_ORDER_MARK: Final = "\ufeff"
_ZONE: Final = ZoneInfo("Asia/Jakarta")
_ZONE_COLUMN: Final = "time_zone"
_ZONE_NAME: Final = "WIB"

# If a cell begins with one of these characters, a spreadsheet runs the cell as a formula. The last four characters are
# the full-width forms that East Asian keyboards type. A spreadsheet program in a language other than Indonesian uses a
# different separator. In a spreadsheet with a different separator, a new cell can begin after each comma, semicolon,
# tab or line break in a text.
_FORMULA: Final = re.compile(r'(?:^|(?<=[,;\t\r\n]))(?="*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r\n])')
# A spreadsheet would show these texts as a different number or as a date: 007, 1e5, 3-4, 12.30, and long numbers.
_MISREAD: Final = re.compile(r"0\d+|\d+[eE][+-]?\d+|\d{16,}|\d{1,4}([-/.,: ]\d{1,4})+")


def csv_header(item_type: type[msgspec.Struct]) -> bytes:
    """Return the line of column names. A field of a nested struct is named `struct_field`."""
    return _BYTE_ORDER_MARK.encode() + _csv_line([*_columns(item_type), _ZONE_COLUMN])


def csv_rows(items: Sequence[msgspec.Struct]) -> bytes:
    """Return one line per item, with its columns in the order of `csv_header`."""
    return b"".join(
        _csv_line([*_cells(type(item), msgspec.to_builtins(item, builtin_types=(datetime,))), _ZONE_NAME])
        for item in items
    )


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
    """Return the struct type in a field's type, such as `Item` in `Item | None`.

    Return None if the type contains no struct.
    """
    choices = get_args(field_type) if get_origin(field_type) in (Union, types.UnionType) else (field_type,)
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            return choice
    return None


def _csv_line(cells: Sequence[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line, delimiter=SEPARATOR).writerow([_cell(cell) for cell in cells])
    return line.getvalue().encode()


def _cell(value: Any) -> Any:
    """Return the value in the form that a spreadsheet shows correctly.

    An apostrophe before a text prevents the spreadsheet from running or changing the text.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(value).replace(".", ",")
    if isinstance(value, datetime):
        return f"{value.astimezone(_ZONE):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, str):
        return f"'{value}" if _MISREAD.fullmatch(value) else _FORMULA.sub("'", value)
    return value
