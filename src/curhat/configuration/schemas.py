"""The structs of the API about configuration."""

from datetime import datetime
from typing import Literal

import msgspec

from curhat.configuration.definitions import ConfigurationKey, Value


class ConfigurationRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row: its definition, its current value, who set this value, and the time of that change."""

    key: ConfigurationKey
    label: str
    explanation: str
    unit: str
    type: Literal["integer", "choice"]
    default: Value
    minimum: int | None
    maximum: int | None
    choices: tuple[str, ...] | None
    value: Value
    updated_at: datetime
    updated_by: str


class ConfigurationChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one row: the old value, the new value, who changed the row, and the time."""

    key: ConfigurationKey
    old_value: Value
    new_value: Value
    changed_by: str
    changed_at: datetime
