"""Reads the CSV files that operators export."""

import csv
import io

from curhat.control_center.lists.csv_export import SEPARATOR


def rows_of(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a file. Each row maps column names to values."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=SEPARATOR))
