"""Development only: the embedded servers, the supervisor behind `curhat up`, and the simulated people.

This package imports libraries of the extra `curhat[dev]`. A production install does not have these libraries, so no
other package imports `curhat.dev`. `app/cli/main.py` loads the commands of this package by name.
"""
