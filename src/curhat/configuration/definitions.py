"""The definition of each row: label, explanation, unit, default value and bounds. This module does no I/O."""

import re
from typing import Final, Literal, get_args

import msgspec

from curhat.kit.errors import NotFound, invalid_field

ConfigurationKey = Literal[
    "pairing_blast_timeout_seconds",
    "payment_session_timeout_minutes",
    "returning_chat_confirmation_timeout_seconds",
    "extension_timeout_seconds",
    "extension_default_action_on_timeout",
]
DefaultAction = Literal["auto_reject", "auto_approve"]
Value = int | str


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """The definition of one row. An integer row has `minimum` and `maximum`. A choice row has `choices`."""

    key: ConfigurationKey
    label: str
    explanation: str
    unit: str
    type: Literal["integer", "choice"]
    default: Value
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] | None = None

    def checked(self, value: object) -> Value:
        """Return `value` if it has the right type and is within the bounds.

        For a value of a wrong type or outside the bounds, raises ValidationFailed, which names the bounds.
        """
        if self.choices is not None:
            if isinstance(value, str) and value in self.choices:
                return value
            raise invalid_field("value", f"must be {' or '.join(self.choices)}")
        assert self.minimum is not None
        assert self.maximum is not None
        # Do not use isinstance, because in Python a bool is an int.
        if type(value) is int and self.minimum <= value <= self.maximum:
            return value
        limits = f"from {self.minimum} to {self.maximum}"
        raise invalid_field("value", f"must be a whole number of {self.unit} {limits}")

    def read(self, text: str) -> Value:
        """Convert a text from the database or the command line to the row's type. Raises ValidationFailed."""
        if self.type == "integer" and re.fullmatch(r"[0-9]{1,9}", text):
            return self.checked(int(text))
        return self.checked(text)


DEFINITIONS: Final[dict[str, Definition]] = {
    definition.key: definition
    for definition in (
        Definition(
            key="pairing_blast_timeout_seconds",
            label="Search time",
            explanation=(
                "How long a search asks every available bestie. The customer sees this countdown under "
                '"Mencari bestie…"; each bestie sees the time left on the request card. When it ends and nobody '
                "accepted, the customer is told so and the paid payment comes here for review. Longer: more "
                "searches succeed, and customers wait longer for bad news."
            ),
            unit="seconds",
            type="integer",
            default=60,
            minimum=10,
            maximum=600,
        ),
        Definition(
            key="payment_session_timeout_minutes",
            label="Time to pay",
            explanation=(
                "How long a payment that was opened waits to be confirmed. When it ends, the payment expires, "
                "nothing was taken, and the customer starts again. The same time is given to answer whether to "
                'look for another bestie after a failed "Curhat lagi". Besties notice nothing of it.'
            ),
            unit="minutes",
            type="integer",
            default=20,
            minimum=1,
            maximum=120,
        ),
        Definition(
            key="returning_chat_confirmation_timeout_seconds",
            label='"Curhat lagi" answer time',
            explanation=(
                "How long the bestie a customer asked for by name has to accept. The bestie sees this countdown "
                'on the request card; the customer waits under "Menunggu konfirmasi bestie...". Silence counts as '
                "a rejection: the customer, who has paid already, is offered another bestie under the same payment."
            ),
            unit="seconds",
            type="integer",
            default=20,
            minimum=5,
            maximum=120,
        ),
        Definition(
            key="extension_timeout_seconds",
            label="Extension answer time",
            explanation=(
                "How long a bestie in a chat has to answer when the customer asks for more time. Both see this "
                'countdown. What silence means is set by "Extension on silence". Much longer than 10 seconds '
                "keeps the customer waiting in the middle of a chat."
            ),
            unit="seconds",
            type="integer",
            default=10,
            minimum=5,
            maximum=60,
        ),
        Definition(
            key="extension_default_action_on_timeout",
            label="Extension on silence",
            explanation=(
                "What happens when the bestie does not answer an extension in time. auto_approve: the customer is "
                "charged and the chat goes on. auto_reject: nothing is charged and the chat ends at its time. The "
                "bestie's card says which of the two silence means. A bestie who is offline or disconnected "
                "always counts as a rejection."
            ),
            unit="choice",
            type="choice",
            default="auto_approve",
            choices=get_args(DefaultAction),
        ),
    )
}


def definition_of(key: str) -> Definition:
    """Return the definition of the row `key`. Raises NotFound."""
    if key not in DEFINITIONS:
        raise NotFound
    return DEFINITIONS[key]
