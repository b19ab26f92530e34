"""Conditions that a request adds to a statement of a `queries.sql`: the filters of a list, and the start of its page.

Our code writes the text of a condition. A value that a client sends is always a parameter of the statement.
"""

from typing import Self


class Conditions:
    """Conditions and the values of their parameters. They replace `/* conditions */` in a statement."""

    def __init__(self, *conditions: tuple[str, tuple[object, ...]]) -> None:
        self._conditions = list(conditions)

    def add(self, condition: str, *values: object) -> None:
        """Add a condition. Its text refers to the values as {0}, {1}, …"""
        self._conditions.append((condition, values))

    def copy(self) -> Self:
        """Return a copy. Conditions that are added to the copy do not change the original."""
        return type(self)(*self._conditions)

    def complete(self, statement: str, *parameters: object) -> tuple[str, list[object]]:
        """Return the statement with these conditions, and all values in the order of their numbers.

        `parameters` are the statement's own values, from $1 on. Only generated code calls this.
        """
        values = list(parameters)
        text = ""
        for condition, given in self._conditions:
            numbers = [f"${len(values) + index + 1}" for index in range(len(given))]
            text += f"\n    AND {condition.format(*numbers)}"
            values += given
        return statement.replace("/* conditions */", text), values
