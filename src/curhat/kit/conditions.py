"""Conditions that a request adds to a statement of a `queries.sql`: the filters of a list, and where its page begins.

A condition's text is written in our code, never by a client; what a client sends is always a parameter.
"""

from typing import Self


class Conditions:
    """Conditions, and the values of their parameters. A statement takes them in place of `/* conditions */`."""

    def __init__(self, *conditions: tuple[str, tuple[object, ...]]) -> None:
        self._conditions = list(conditions)

    def add(self, condition: str, *values: object) -> None:
        """Add a condition. Its text refers to the values as {0}, {1}, …"""
        self._conditions.append((condition, values))

    def copy(self) -> Self:
        """The same conditions, to which more can be added without changing these."""
        return type(self)(*self._conditions)

    def complete(self, statement: str, *parameters: object) -> tuple[str, list[object]]:
        """The statement with these conditions in it, and all values in the order of their numbers.

        `parameters` are the statement's own, $1 and on. Only generated code calls this.
        """
        values = list(parameters)
        text = ""
        for condition, given in self._conditions:
            numbers = [f"${len(values) + index + 1}" for index in range(len(given))]
            text += f"\n    AND {condition.format(*numbers)}"
            values += given
        return statement.replace("/* conditions */", text), values
