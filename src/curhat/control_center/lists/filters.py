"""The filters of one list request: conditions for the list's statement, and the filters' texts for the audit."""

from datetime import datetime

from curhat.control_center.lists.query_values import checked_time
from curhat.kit.conditions import Conditions


class Filters(Conditions):
    """The conditions of one list request. `given` has each filter with its value.

    The audit of a CSV export records `given`.
    If a filter's value can name a person, `given` has the filter without the value, as `q=…`.
    """

    def __init__(self, *conditions: tuple[str, tuple[object, ...]]) -> None:
        super().__init__(*conditions)
        self.given: list[str] = []

    def equal(self, name: str, column: str, value: object | None) -> None:
        """Keep rows whose `column` equals `value`. If `value` is None, keep all rows."""
        self.compare(name, column, "=", value)

    def compare(self, name: str, column: str, operator: str, value: object | None) -> None:
        """Keep rows for which `column operator value` holds. If `value` is None, keep all rows."""
        if value is not None:
            self.add(f"{column} {operator} {{0}}", value)
            self.given.append(f"{name}={value}")

    def holds(self, name: str, condition: str, wanted: bool | None) -> None:
        """Keep rows for which `condition` equals `wanted`. If `wanted` is None, keep all rows."""
        if wanted is not None:
            self.add(condition if wanted else f"NOT ({condition})")
            self.given.append(f"{name}={wanted}")

    def between(self, column: str, since: datetime | None, until: datetime | None) -> None:
        """Keep rows whose `column` is at or after `since` and before `until`. Raises ValidationFailed."""
        for name, operator, value in (("from", ">=", since), ("to", "<", until)):
            if value is not None:
                self.add(f"{column} {operator} {{0}}", checked_time(name, value))
                self.given.append(f"{name}={value.isoformat()}")
