"""During tests, this module raises an error if a column without the mark "nullable" is null.

PostgreSQL does not say which columns of a statement can be null. So the comment of each statement marks the columns
that can be null. If a mark is missing, mypy does not expect None in the column. Only this check finds the missing mark.
"""

import importlib
from typing import Any

import msgspec

from curhat.dev.statements import SOURCES


def check_rows() -> None:
    """Make each row struct of each `queries.py` raise an error if a column without the mark "nullable" is null."""
    for path in sorted(SOURCES.rglob("queries.py")):
        name = ".".join(("curhat", *path.relative_to(SOURCES).with_suffix("").parts))
        module = importlib.import_module(name)
        for struct in [value for value in vars(module).values() if _is_row(value, name)]:
            setattr(module, struct.__name__, _checked(struct))


def _is_row(value: object, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module


def _checked(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    required = [
        field.name for field in msgspec.structs.fields(struct) if type(None) not in _choices(field.type)
    ]

    def refuse_null(self: msgspec.Struct) -> None:
        for name in required:
            if getattr(self, name) is None:
                raise AssertionError(
                    f"{struct.__module__}.{struct.__name__}.{name} is null; mark it nullable"
                )

    return msgspec.defstruct(
        struct.__name__,
        [],
        bases=(struct,),
        module=struct.__module__,
        namespace={"__post_init__": refuse_null},
        frozen=True,
    )


def _choices(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__args__", (kind,))
