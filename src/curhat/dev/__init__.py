"""Development only: the embedded servers, the supervisor behind `curhat up`, and the simulated people.

A production install does not have the packages that this package imports. They are the extra `curhat[dev]`. So
nothing outside this package imports it. `app/cli/main.py` loads its commands by name.
"""
