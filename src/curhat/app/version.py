"""The version of this code."""

import functools
from importlib.metadata import version as version_of_package


@functools.cache
def version() -> str:
    """Return the version of the installed package, which `pyproject.toml` names."""
    return version_of_package("curhat")
