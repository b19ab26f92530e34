"""The struct that operators send to change a row."""

from datetime import datetime
from typing import Annotated

import msgspec

WrittenValue = int | Annotated[str, msgspec.Meta(max_length=100)]
ZonedTime = Annotated[datetime, msgspec.Meta(tz=True)]


class ConfigurationOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new value, and the `updated_at` that the row had when the operator read it."""

    value: WrittenValue
    expected_updated_at: ZonedTime
