"""The filters of one list request: conditions on the list's statement, and what the audit notes of an export."""

from datetime import datetime

from curhat.control_center.lists.query_values import checked_time
from curhat.kit.conditions import Conditions


class Filters(Conditions):
    """Conditions of a request. `given` holds each filter with its value. An export of the list writes it to the audit.

    Filters whose value may name a person are noted without it, as `q=…`.
    """

    def __init__(self, *conditions: tuple[str, tuple[object, ...]]) -> None:
        super().__init__(*conditions)
        self.given: list[str] = []

    def equal(self, name: str, column: str, value: object | None) -> None:
        """Keep rows whose `column` is `value`, when the request has one."""
        self.compare(name, column, "=", value)

    def compare(self, name: str, column: str, operator: str, value: object | None) -> None:
        """Keep rows for which `column operator value` holds, when the request has a value."""
        if value is not None:
            self.add(f"{column} {operator} {{0}}", value)
            self.given.append(f"{name}={value}")

    def holds(self, name: str, condition: str, wanted: bool | None) -> None:
        """Keep rows for which `condition` holds, or those for which it does not, as the request says."""
        if wanted is not None:
            self.add(condition if wanted else f"NOT ({condition})")
            self.given.append(f"{name}={wanted}")

    def between(self, column: str, since: datetime | None, until: datetime | None) -> None:
        """Keep rows whose `column` is at or after `since` and before `until`. Raises ValidationFailed."""
        for name, operator, value in (("from", ">=", since), ("to", "<", until)):
            if value is not None:
                self.add(f"{column} {operator} {{0}}", checked_time(name, value))
                self.given.append(f"{name}={value.isoformat()}")
