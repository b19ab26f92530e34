"""The help lines (H.1): a list of lines and of steps that need no line, in published versions.

Guarantees:
    A version never changes after it was proposed. Another admin than the one who proposed a version publishes it.
    PostgreSQL refuses a version with fewer than three lines of two providers, or without a step that needs no line.
    Everybody can read the current version without signing in. Reading it writes nothing.
How it works:
    The current version is the published version with the highest number. Only the newest version can be published, so
    the number of the current version never falls.
    `shipped.json` is the list that comes with a release. It is a draft: nobody has called its numbers. `curhat seed`
    publishes it if operators have published nothing. The web clients contain the same list (`web/shared/help/`).
"""
