"""The texts that a person accepts: terms, privacy notice, use of health data, and the code of conduct for mitras (P.1).

Guarantees:
    A published version never changes. A new version has both languages, and a version number that is higher by 1.
    Only the newest version of a text counts. Only an acceptance of the same person in the same role counts.
    An acceptance is never changed, and not deleted before its retention is over.
    Of the year of birth, only "adult" is kept, as a time in `customers` or `mitras`. A refused year leaves no trace:
    no row, no stored answer and no log entry contains it (record 0149).
    If a kind has no published version, nobody has to accept it.
Locks:
    None. A version that is published during an acceptance, a payment's opening or a toggle counts from the next one on.
"""
