"""Converts the query parameters of the audit's list to filters."""

from curhat.control_center.lists.filters import Filters
from curhat.control_center.lists.query_values import From, Text, To, checked_text


def filter_audit(
    actor: Text = None,
    action: Text = None,
    subject: Text = None,
    subject_id: Text = None,
    since: From = None,
    until: To = None,
) -> Filters:
    """Filter entries. `actor` is an operator's id or e-mail, or `system`. Raises ValidationFailed."""
    filters = Filters()
    who = checked_text("actor", actor)
    if who is not None:
        # With one value, PostgreSQL reads the entries from the index audit_entries_by_actor in the order of the list.
        # With two values (the text itself, and the id of the operator with this e-mail), it would sort them or read
        # the whole audit.
        actor_id = "(SELECT id::text FROM operators WHERE email = lower({0}))" if "@" in who else "{0}"
        filters.add(f"audit_entries.actor = {actor_id}", who)
        filters.given.append("actor=…")
    for name, value in (("action", action), ("subject", subject), ("subject_id", subject_id)):
        filters.equal(name, f"audit_entries.{name}", checked_text(name, value))
    filters.between("audit_entries.occurred_at", since, until)
    return filters
