"""Test which names are accepted, and which names are refused."""

import pytest

from curhat.accounts.names import checked_name
from curhat.kit.errors import ValidationFailed


@pytest.mark.rule("X.4")
@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Bunga", "Bunga"),
        ("  Bunga  ", "Bunga"),
        ("Kak\u00a0 Sari", "Kak Sari"),
        ("B", "B"),
        ("Ani 2001", "Ani 2001"),
        ("O'Neil-Łukasz", "O'Neil-Łukasz"),
        ("小花", "小花"),
        ("🌸", "🌸"),
        ("👩‍🦰", "👩‍🦰"),
        ("Andre\u0301", "André"),
        ("x" * 40, "x" * 40),
    ],
)
def test_an_ordinary_name_is_kept_and_trimmed(written: str, name: str) -> None:
    assert checked_name(written, "call_name") == name


@pytest.mark.rule("X.4")
@pytest.mark.parametrize(
    "written",
    [
        "",
        "   ",
        "x" * 41,
        "Bun\nga",
        "Bu\x00nga",
        "Bu\tnga",
        "\u202eagnuB",
        "Bu\u200bnga",
        "\u200d",
        "\u0301",
        "\u3164",
        "\ud800",
        "081100000001",
        "Bunga 0811 0000 001",
        "0-8-1-1-2-3-4",
        "\uff10\uff18\uff11\uff11\uff12\uff13\uff14",
        "①②③④⑤⑥⑦",
        "٠٨١١٢٣٤",
        "bunga@example.id",
        "@bunga",
        "bunga\uff20example",
    ],
)
def test_a_name_with_hidden_characters_or_contact_data_is_refused(written: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        checked_name(written, "call_name")
    assert [error["field"] for error in refused.value.fields["errors"]] == ["call_name"]
