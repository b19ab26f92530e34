"""Check that each table is in one class of data, and that the worker runs the function that deletes each class."""

import importlib
import re
from pathlib import Path

import pytest

from curhat.app import worker
from curhat.privacy.retention.classes import CLASSES, TIMED_CLASSES
from curhat.privacy.retention.document import BEGIN, END, with_table

ROOT = Path(__file__).parents[2]


@pytest.mark.rule("P.7")
def test_each_table_of_the_schema_is_in_exactly_one_class_of_data() -> None:
    schema = (ROOT / "contracts" / "schema.sql").read_text("utf-8")
    tables = re.findall(r"^CREATE TABLE ([\w.]+)", schema, re.MULTILINE)
    assert sorted(table for each in CLASSES for table in each.tables) == sorted(tables)


@pytest.mark.rule("P.7")
def test_the_worker_runs_the_deletion_of_each_class_that_has_a_time() -> None:
    deletions = set()
    for each in CLASSES:
        if each.deleted_by is not None:
            module, _, function = each.deleted_by.rpartition(".")
            deletions.add(getattr(importlib.import_module(module), function))
    assert deletions == set(worker.PRUNINGS)
    assert {each.name for each in CLASSES if each.deleted_by is not None} == set(TIMED_CLASSES)


def test_a_class_names_what_it_holds_and_for_how_long_in_whole_sentences() -> None:
    for each in CLASSES:
        for sentence in (each.holds, each.kept, each.why, each.seen_by):
            assert sentence.endswith("."), (each.name, sentence)


def test_the_page_about_privacy_needs_the_place_for_the_classes() -> None:
    assert with_table(f"a\n{BEGIN}\nold\n{END}\nb").startswith(f"a\n{BEGIN}\n\n### Chat text\n")
    with pytest.raises(ValueError, match="needs the lines"):
        with_table("a page without the place")
