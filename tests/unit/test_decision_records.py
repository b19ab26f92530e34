"""Check that the index of docs/decisions/ lists every record, and that every cited record exists."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))


def title(record: Path) -> str:
    """Return the first line of a record without '# '. This line has the record's number and title."""
    return record.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def texts_that_cite_records() -> dict[str, str]:
    """Return the path and the text of every file that can cite a record."""
    paths = list(ROOT.glob("*.md"))
    for folder in ("docs", "src", "migrations", "tests", "bench"):
        paths += [path for path in (ROOT / folder).rglob("*.*") if path.suffix in (".md", ".py", ".sql")]
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in paths
        if "node_modules" not in path.parts
    }


def test_every_record_has_a_unique_number_and_its_title_has_the_same_number() -> None:
    numbers = [record.name[:4] for record in RECORDS]
    assert len(set(numbers)) == len(numbers)
    assert [record.name for record in RECORDS if title(record)[:5] != record.name[:4] + " "] == []


def test_the_index_has_one_line_with_the_title_of_each_record() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    lines = [line for line in index.splitlines() if line.startswith("- ")]
    assert sorted(lines) == [f"- [{record.name[:4]}]({record.name}){title(record)[4:]}" for record in RECORDS]


def test_every_referenced_record_exists() -> None:
    names = {record.name for record in RECORDS}
    numbers = {record.name[:4] for record in RECORDS}
    wrong = []
    for path, text in texts_that_cite_records().items():
        wrong += [(path, name) for name in re.findall(r"\b00\d\d-[a-z0-9-]+\.md", text) if name not in names]
        wrong += [
            (path, number)
            for number in re.findall(r"\b[Dd]ecisions? (00\d\d)\b|\b[Rr]ecord (00\d\d)\b", text)
            if "".join(number) not in numbers
        ]
    assert wrong == []
