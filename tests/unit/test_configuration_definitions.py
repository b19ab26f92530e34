"""Test the definitions of the five configuration rows."""

import pytest

from curhat.configuration.definitions import DEFINITIONS, definition_of
from curhat.kit.errors import NotFound, ValidationFailed

BOUNDS = {
    "pairing_blast_timeout_seconds": (10, 60, 600),
    "payment_session_timeout_minutes": (1, 20, 120),
    "returning_chat_confirmation_timeout_seconds": (5, 20, 120),
    "extension_timeout_seconds": (5, 10, 60),
}
ACTION = "extension_default_action_on_timeout"


@pytest.mark.rule("X.5")
def test_exactly_five_configuration_rows_are_defined_with_texts_and_a_default() -> None:
    assert set(DEFINITIONS) == {*BOUNDS, ACTION}
    for definition in DEFINITIONS.values():
        assert definition.label
        assert len(definition.explanation) > 80
        assert definition.unit
        assert definition.checked(definition.default) == definition.default


@pytest.mark.rule("X.5")
@pytest.mark.parametrize(("key", "bounds"), BOUNDS.items())
def test_a_number_is_accepted_only_within_the_bounds_of_its_row(
    key: str, bounds: tuple[int, int, int]
) -> None:
    minimum, default, maximum = bounds
    definition = definition_of(key)
    assert definition.default == default
    assert definition.checked(minimum) == minimum
    assert definition.checked(maximum) == maximum
    for wrong in (
        minimum - 1,
        maximum + 1,
        0,
        -1,
        10**30,
        float(default),
        str(default),
        True,
        None,
        [default],
    ):
        with pytest.raises(ValidationFailed):
            definition.checked(wrong)


@pytest.mark.rule("X.5")
def test_an_action_row_accepts_only_its_two_choices() -> None:
    definition = definition_of(ACTION)
    assert definition.default == "auto_approve"
    assert definition.choices == ("auto_reject", "auto_approve")
    for wrong in ("AUTO_APPROVE", "", "approve", 1, None):
        with pytest.raises(ValidationFailed):
            definition.checked(wrong)


@pytest.mark.rule("X.5")
def test_a_text_is_converted_to_the_type_of_its_configuration_row() -> None:
    assert definition_of("extension_timeout_seconds").read("10") == 10
    assert definition_of(ACTION).read("auto_reject") == "auto_reject"
    for wrong in ("", "ten", "10.0", "-10", "+10", " 10", "1e1", "٢٠", "9" * 30):
        with pytest.raises(ValidationFailed):
            definition_of("extension_timeout_seconds").read(wrong)


@pytest.mark.rule("X.5")
def test_an_unknown_key_is_not_found() -> None:
    with pytest.raises(NotFound):
        definition_of("max_customers")
