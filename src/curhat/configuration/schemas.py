"""The answers about configuration."""

from datetime import datetime
from typing import Literal

import msgspec

from curhat.configuration.definitions import ConfigurationKey, Value


class ConfigurationRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row: its definition, its value, and who set it when."""

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
    """One change of one row: who changed it when, from what to what."""

    key: ConfigurationKey
    old_value: Value
    new_value: Value
    changed_by: str
    changed_at: datetime
