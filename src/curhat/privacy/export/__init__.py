"""Export: a person gets the own data at once, as JSON or as a page to read and print (P.6).

Guarantees:
    An export needs a fresh one-time code. A person begins at most MAX_EXPORTS_PER_DAY a day.
    The process holds one page of the data in memory, whatever the size of the export.
    An export has only what its person may read: no report about the person, no text that is gone for the person, and
    nothing of the other side but its name and its messages.
    A running export ends within one page after the person signed out or deleted the account. A complete export says so
    at its end, so that nobody takes a broken file for a complete one.
Concurrency:
    Each page has a transaction of its own, so an export holds no lock and no snapshot while the network is slow. Data
    that changes during the export appears in its old or in its new state.
"""
