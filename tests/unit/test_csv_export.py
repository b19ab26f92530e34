"""Test that an Indonesian spreadsheet opens a CSV correctly, and does not run or change a text."""

import csv
import io
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from curhat.control_center.lists.csv_export import csv_header, csv_rows


class _Person(msgspec.Struct):
    call_name: str | None


class _Item(msgspec.Struct):
    id: UUID
    customer: _Person | None
    amount_rp: int
    seconds: float | None
    recovered: bool
    occurred_at: datetime


ITEM = _Item(
    id=UUID("0198f1e2-0000-7000-8000-000000000001"),
    customer=_Person("Bunga 🌸"),
    amount_rp=20_000,
    seconds=1.5,
    recovered=True,
    occurred_at=datetime(2026, 11, 30, 18, 5, 9, 120_000, tzinfo=UTC),
)


def cell_of(text: str) -> str:
    line = csv_rows([msgspec.structs.replace(ITEM, customer=_Person(text))]).decode()
    [row] = csv.reader(io.StringIO(line, newline=""), delimiter=";")
    return row[1]


def test_an_indonesian_spreadsheet_reads_separators_and_letters_and_decimals_and_times() -> None:
    file = csv_header(_Item) + csv_rows([ITEM])
    assert file.startswith(b"\xef\xbb\xbf")
    assert file.decode("utf-8-sig") == (
        "id;customer_call_name;amount_rp;seconds;recovered;occurred_at;time_zone\r\n"
        "0198f1e2-0000-7000-8000-000000000001;Bunga 🌸;20000;1,5;true;2026-12-01 01:05:09;WIB\r\n"
    )


def test_a_missing_value_is_an_empty_cell() -> None:
    item = msgspec.structs.replace(ITEM, customer=None, seconds=None)
    assert csv_rows([item]).decode().split(";")[1:4] == ["", "20000", ""]


@pytest.mark.parametrize(
    "beginning", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_a_text_that_begins_like_a_formula_is_shown_and_not_run(beginning: str) -> None:
    assert cell_of(f"{beginning}1+1") == f"'{beginning}1+1"


@pytest.mark.parametrize("separator", [",", ";", "\t", "\n"])
def test_a_formula_after_the_separator_of_another_language_is_not_run(separator: str) -> None:
    """An English spreadsheet separates cells by commas, so a cell can begin in the middle of a text."""
    assert cell_of(f"halo{separator}=1+1") == f"halo{separator}'=1+1"
    assert cell_of(f'halo{separator}"=1+1') == f"halo{separator}'\"=1+1"


@pytest.mark.parametrize(
    "text", ["007", "0812", "1e5", "3-4", "1.5", "1,5", "12:30", "1/2/2026", "2026-11-30", "1234567890123456"]
)
def test_a_text_that_looks_like_a_number_or_a_date_is_not_changed(text: str) -> None:
    assert cell_of(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["Bunga", 'Melati; "dan", Mawar', "a - b", "20", "20 menit", "saya@contoh.id", "baris\ndua"]
)
def test_an_ordinary_text_is_not_changed(text: str) -> None:
    assert cell_of(text) == text


def test_no_value_breaks_a_line_of_the_file() -> None:
    value: Any = 'satu;dua\r\n"tiga"'
    assert cell_of(value) == value
