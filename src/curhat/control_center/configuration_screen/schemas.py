"""The struct that operators send to change a row."""

from datetime import datetime
from typing import Annotated

import msgspec

WrittenValue = int | Annotated[str, msgspec.Meta(max_length=100)]
ZonedTime = Annotated[datetime, msgspec.Meta(tz=True)]


class ConfigurationOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new value, and `updated_at` of the row that the operator saw."""

    value: WrittenValue
    expected_updated_at: ZonedTime
