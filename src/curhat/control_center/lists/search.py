"""Searches a list for the text `q`, which is an id, a phone number, or the beginning of a name."""

import contextlib
from typing import Final
from uuid import UUID

from curhat.accounts.phone import normalise
from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import checked_text
from curhat.kit.errors import ValidationFailed

_HAS_PHONE: Final = "IN (SELECT people.id FROM people WHERE people.phone_number = {0})"
CUSTOMERS_NAMED: Final = "SELECT named.id FROM customers AS named WHERE lower(named.call_name) LIKE {0}"
MITRAS_NAMED: Final = "SELECT named.id FROM mitras AS named WHERE lower(named.display_name) LIKE {0}"


def add_search(filters: Filters, q: str | None, *, ids: str, person: str, names: str) -> None:
    """Keep only the rows of a list that match `q`. An empty `q` keeps all rows. Raises ValidationFailed.

    `ids` is the condition that a row matches the id {0}. `person` is the column with a person's id. `names` is a
    statement that returns the ids of the people whose name matches {0}.
    """
    text = checked_text("q", q)
    if text is None:
        return
    filters.given.append("q=…")
    searched_id = phone_number = None
    with contextlib.suppress(ValueError):
        searched_id = UUID(text)
    with contextlib.suppress(ValidationFailed):
        phone_number = normalise(text, None)
    if searched_id is not None:
        filters.add(f"({ids})", searched_id)
    elif phone_number is not None:
        filters.add(f"{person} {_HAS_PHONE}", phone_number)
    else:
        escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        filters.add(f"{person} IN ({names})", f"{escaped}%")
