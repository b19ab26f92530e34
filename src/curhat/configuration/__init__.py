"""The five values that operators change while the service runs (X.5), and the history of each.

Guarantees
    There are exactly five rows; code and database name the same. A value within its type and bounds is the only one
    that `change` writes, and with it, in the same transaction, who changed it from what to what.
    A change applies to what starts after it: whoever opens a window reads the value then, and keeps it with the row.
"""
