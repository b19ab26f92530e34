"""Test which names are accepted and which names are refused."""

# ruff: noqa: RUF001 letters that look like other letters are the subject of these tests

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
        ("عائشة", "عائشة"),
        ("می\u200cنا", "می\u200cنا"),
        ("ไอรีน", "ไอรีน"),
        ("Nguyễn Thị", "Nguyễn Thị"),
        ("Dewi ❤\ufe0f", "Dewi ❤\ufe0f"),
        ("M.Iqbal, S.H.", "M.Iqbal, S.H."),
        ("Alex (she/her) :)", "Alex (she/her) :)"),
        ("Wa Ode Siti", "Wa Ode Siti"),
        ("Tim", "Tim"),
        ("Resmi", "Resmi"),
        ("Badminton Lover", "Badminton Lover"),
        ("Bestie Sari", "Bestie Sari"),
    ],
)
def test_an_ordinary_name_is_kept_and_trimmed(written: str, name: str) -> None:
    assert checked_name(written, "call_name") == name


@pytest.mark.rule("X.4")
@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("name_length", ["", "   ", "x" * 41]),
        (
            "unusual_characters",
            [
                "Bun\nga",
                "Bu\x00nga",
                "Bu\tnga",
                "\u202eagnuB",
                "Bu\u200bnga",
                "\u200eBunga",
                "\u200d",
                "\u3164",
                "\ud800",
                "x" + "\u0302" * 35,
            ],
        ),
        ("nothing_to_see", ["\u0301", "\ufe0f"]),
        (
            "contact_in_name",
            [
                "081100000001",
                "Bunga 0811 0000 001",
                "0-8-1-1-2-3-4",
                "\uff10\uff18\uff11\uff11\uff12\uff13\uff14",
                "①②③④⑤⑥⑦",
                "٠٨١١٢٣٤",
                "bunga@example.id",
                "@bunga",
                "bunga\uff20example",
                "wa.me/628",
                "WA . me/62",
                "t․me",
                "bunga.com",
                "https://x",
                "ig: bunga",
                "ig﹕bunga",
                "IG bunga",
                "line = bunga",
                "WhatsApp aku",
                "tеlegram",
            ],
        ),
        (
            "reserved_name",
            [
                "Tim Curhat",
                "CURHAT",
                "Cürhat",
                "Cur-hat",
                "C u r h a t",
                "Admin",
                "Admin 1",
                "adm1n",
                "adm!n",
                "АDМIИ",
                "аdmin",
                "𝐀𝐝𝐦𝐢𝐧",
                "Ａｄｍｉｎ",
                "ⓐⓓⓜⓘⓝ",
                "🇦🇩🇲🇮🇳",
                "ᴀᴅᴍɪɴ",
                "Adrnin",
                "CS",
                "C.S.",
                "cs 24",
                "Customer Service",
                "Layanan Pelanggan",
                "Operator",
            ],
        ),
    ],
)
def test_a_name_is_refused_with_the_code_of_its_fault(code: str, names: list[str]) -> None:
    for written in names:
        with pytest.raises(ValidationFailed) as refused:
            checked_name(written, "call_name")
        (error,) = refused.value.fields["errors"]
        assert (written, error["field"], error["code"]) == (written, "call_name", code)
