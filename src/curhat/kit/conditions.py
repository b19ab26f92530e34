"""Conditions that Python code adds to a statement of a `queries.sql` file for one HTTP request.

A condition is a filter of a list, or the position at which a page of the list starts. The text of a condition always
comes from our code. A value that a client sends is always a parameter of the statement.
"""

from typing import Self


class Conditions:
    """Conditions and the values of their parameters. `complete` puts the conditions into a statement.

    If `is_ascending` is true, each `DESC /* or ASC */` of the statement becomes `ASC`.
    """

    def __init__(self, *conditions: tuple[str, tuple[object, ...]]) -> None:
        self._conditions = list(conditions)
        self.is_ascending = False

    def add(self, condition: str, *values: object) -> None:
        """Add a condition. The text of the condition refers to `values` as {0}, {1}, …"""
        self._conditions.append((condition, values))

    def copy(self) -> Self:
        """Return a copy. Conditions that are added to the copy do not change the original."""
        copied = type(self)(*self._conditions)
        copied.is_ascending = self.is_ascending
        return copied

    def complete(self, statement: str, *parameters: object) -> tuple[str, list[object]]:
        """Replace `/* conditions */` in the statement by these conditions.

        Returns the new statement, and all its values in the order of their numbers. `parameters` are the values of
        the statement's own parameters, which come first. Only generated code calls this method.
        """
        values = list(parameters)
        text = ""
        for condition, given in self._conditions:
            numbers = [f"${len(values) + index + 1}" for index in range(len(given))]
            text += f"\n    AND {condition.format(*numbers)}"
            values += given
        if self.is_ascending:
            statement = statement.replace("DESC /* or ASC */", "ASC")
        return statement.replace("/* conditions */", text), values
