"""Ratings of sessions by their customers (T.6).

Guarantees:
    A customer rates only an own session that has ended less than 7 days ago, and in which both sides wrote. A session
    has at most one rating. A later answer of the customer replaces it within the 7 days.
    A mitra sees only sums of whole weeks. Each sum has at least ten ratings by at least five customers. It is written
    once, when no answer of its weeks can change any more, and then never changes. The periods of a mitra do not
    overlap. So the difference between two views of a mitra is always a whole sum, never a single rating.
Relies on:
    The primary key of `ratings`, and the keys and CHECKs of `rating_sums`.
    The weeks are those of one fixed time zone. With weeks in the viewer's zone, a mitra could compare two zones and
    find the ratings between their midnights.
"""
