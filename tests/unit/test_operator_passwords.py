"""Test which new operator passwords are refused because they are easy to guess."""

import pytest

from curhat.control_center.operators import passwords
from curhat.kit.errors import ValidationFailed
from tests.support.cheap_starts import REAL_HASHER, REAL_UNKNOWN_OPERATOR_HASH

EMAIL = "sari.wulandari@example.id"


@pytest.mark.rule("S.3")
@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "PASSWORD1234",
        "P@ssw0rd12345",
        "aaaaaaaaaaaa",
        "123456789012",
        "qwertyuiop12",
        "abcabcabcabc",
        "rahasia12345",
        "bismillah123",
        "indonesia2026",
        "taekwondoitf",
        "curhat123456",
        "CurhatCurhat",
        "Curhat-Admin-2026",
        EMAIL,
        EMAIL.upper(),
        "sariwulandari1",
        "wulandari2026",
        "\uff50\uff41ssword1234",
        "1" * 128,
        "password" * 10,
        "short",
        "x" * 129,
    ],
)
def test_a_common_password_or_a_password_made_of_the_context_is_refused(password: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        passwords.hashed(password, EMAIL, "new_password")
    assert [error["field"] for error in refused.value.fields["errors"]] == ["new_password"]


@pytest.mark.parametrize(
    "password",
    ["kopi susu enak sekali", "payung kuning di loteng", "tq7Xv2-mmb9Kz", "z" + "payung kuning " * 8],
)
def test_a_password_of_several_words_or_of_random_characters_is_accepted(password: str) -> None:
    assert not passwords._is_common(password, EMAIL)


def test_a_password_check_costs_the_memory_and_time_of_rfc_9106_even_for_an_unknown_email() -> None:
    parameters = ["", "argon2id", "v=19", "m=65536,t=3,p=4"]
    assert REAL_HASHER.hash("payung kuning di loteng").split("$")[:4] == parameters
    assert REAL_UNKNOWN_OPERATOR_HASH.split("$")[:4] == parameters


def test_generated_and_derived_passwords_are_accepted() -> None:
    for password in (passwords.generated(), passwords.derived(b"k" * 32, "a test")):
        assert not passwords._is_common(password, EMAIL)


def test_the_list_of_common_passwords_names_its_source_and_has_five_thousand_passwords() -> None:
    listed = passwords._common_passwords()
    assert len(listed) == 5_000
    assert min(map(len, listed)) >= passwords.MIN_PASSWORD_CHARACTERS
